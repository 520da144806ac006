"""The index of all runs, a SQLite file beside them. The folders hold the truth; the ledger finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Float, String, Text, create_engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from theodolite.errors import StorageError


class _Base(DeclarativeBase):
    pass


class Row(_Base):
    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String)
    folder: Mapped[str] = mapped_column(String)
    status: Mapped[str] = mapped_column(String)
    created: Mapped[str] = mapped_column(String)
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    model: Mapped[str] = mapped_column(String, default="")
    headline: Mapped[str] = mapped_column(Text, default="")

    def to_json(self) -> dict[str, Any]:
        return {c.name: getattr(self, c.name) for c in self.__table__.columns}


class Ledger:
    """`Ledger(folder)` opens or makes `folder/ledger.sqlite`; safe under several processes."""

    def __init__(self, home: Path) -> None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            self.engine: Engine = create_engine(f"sqlite:///{home / 'ledger.sqlite'}", connect_args={"timeout": 30})
            _Base.metadata.create_all(self.engine)
        except (OSError, DBAPIError) as error:
            raise StorageError(
                f"the run folder {home} cannot be written: {error}. Choose another with --runs or THEODOLITE_RUNS."
            ) from error

    def put(self, **values: Any) -> None:
        """Insert the run, or update what is given of it."""
        with Session(self.engine) as session:
            row = session.get(Row, values["id"])
            if row is None:
                session.add(Row(**values))
            else:
                for key, value in values.items():
                    setattr(row, key, value)
            session.commit()

    def rows(self) -> list[dict[str, Any]]:
        """All runs, newest first."""
        with Session(self.engine) as session:
            return [r.to_json() for r in session.scalars(select(Row).order_by(Row.created.desc()))]

    def find(self, name: str) -> dict[str, Any] | None:
        """By id or by name; of several with one name the newest."""
        return next((r for r in self.rows() if name in (r["id"], r["name"])), None)
