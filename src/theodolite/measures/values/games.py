"""Three games that a rational player solves: payoffs, opponents, best replies. Records of play are read elsewhere.

After arXiv:2312.05488: dictator (a desire), rock-paper-scissors (a belief refined by play), ring network (an action
taken through others' reasoning). The games are the paper's; payoffs, opponents and option sets are our reconstruction,
since no code was public. Everything is an index: option 0..K-1, move 0..2, action 0..A-1.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theodolite.errors import UsageError, did_you_mean
from theodolite.stats import Floats

Ints = NDArray[np.int64]
DESIRES = ("equality", "common interest", "self-interest", "altruism")
MOVES = ("rock", "paper", "scissors")
RPS = np.array([[1, 0, 2], [2, 1, 0], [0, 2, 1]], float)
"""payoff of our move (row) against theirs (column): win 2, draw 1, loss 0"""
Kind = Literal["loop", "copy", "counter", "mixture"]


def utility(options: Floats, desire: str) -> Floats:
    """What a desire makes of (self, other) payoffs; options: (..., K, 2) -> (..., K). Higher is preferred.

    equality: -|self - other|; common interest: self + other; self-interest: self; altruism: other.
    """
    mine, theirs = options[..., 0], options[..., 1]
    known = {
        "equality": -np.abs(mine - theirs),
        "common interest": mine + theirs,
        "self-interest": mine,
        "altruism": theirs,
    }
    if desire not in known:
        raise UsageError(f"no desire is called '{desire}'.{did_you_mean(desire, known)} There are: {', '.join(known)}.")
    found: Floats = np.asarray(known[desire], float)
    return found


def best_options(options: Floats, desire: str) -> NDArray[np.bool_]:
    """(..., K) bool: the options that serve the desire best; ties are all best."""
    u = utility(options, desire)
    found: NDArray[np.bool_] = u >= u.max(-1, keepdims=True) - 1e-9
    return found


def dictator_options(rng: np.random.Generator) -> Ints:
    """Four (self, other) splits in random order, (4, 2), of which each desire has exactly one best, all different.

    Ours: even (20-30 each), largest sum (40-45 with 46-50, either way round), most for oneself and most for the
    other (60-70 with 0-10).
    """
    even = int(rng.integers(20, 31))
    sum_ = rng.permutation([rng.integers(40, 46), rng.integers(46, 51)])
    own, given = ([int(rng.integers(60, 71)), int(rng.integers(0, 11))] for _ in range(2))
    return rng.permutation(np.array([[even, even], sum_, own, given[::-1]], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Opponent:
    """A rock-paper-scissors player without a mind.

    loop: plays `moves` over and over (one move: constant). copy: plays our last move. counter: plays what beats our
    last move. mixture: draws from `shares`. copy and counter draw evenly while we have made no (legal) move.
    """

    kind: Kind
    moves: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()

    def belief(self, turn: int, last: int | None) -> Floats:
        """(3,) probabilities of the opponent's next move. turn: 0, 1, ...; last: our previous move, None without."""
        if self.kind == "mixture":
            return np.array(self.shares)
        if self.kind == "loop":
            return _surely(self.moves[turn % len(self.moves)])
        if last is None:
            return np.full(3, 1 / 3)
        return _surely((last + (self.kind == "counter")) % 3)

    def move(self, turn: int, last: int | None, rng: np.random.Generator) -> int:
        return int(rng.choice(3, p=self.belief(turn, last)))

    def best_payoff(self, turn: int, last: int | None) -> float:
        """Expected payoff of the best reply, 2 unless the opponent draws at random. No other play earns more later:
        whatever we did before, the best reply to the next move is open to us.
        """
        return float((RPS @ self.belief(turn, last)).max())


def _surely(move: int) -> Floats:
    found = np.zeros(3)
    found[move] = 1.0
    return found


def opponent(text: str) -> Opponent:
    """'rock', 'rock paper' or 'rock paper scissors' (played in a loop), 'copy', 'counter', or shares '0.5 0.3 0.2'."""
    words = text.lower().replace(",", " ").split()
    if words in (["copy"], ["counter"]):
        return Opponent("copy" if words == ["copy"] else "counter")
    if words and all(w in MOVES for w in words):
        return Opponent("loop", moves=tuple(MOVES.index(w) for w in words))
    try:
        shares = [float(w) for w in words]
    except ValueError:
        shares = []
    if len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6:
        return Opponent("mixture", shares=tuple(s / sum(shares) for s in shares))
    raise UsageError(
        f"no opponent is described by '{text}'. Give moves to loop ('rock paper'), 'copy', 'counter', or three shares "
        "of rock, paper and scissors that sum to 1 ('0.5 0.3 0.2')."
    )


def ring_game(rng: np.random.Generator, players: int = 4, actions: int = 3) -> Floats:
    """Payoffs (players, A, A) of a ring: player i gets payoffs[i, own action, action of player i + 1 (mod players)].

    The last player has a dominant action. Every other player has a different best reply to each action of the
    neighbour, so none of their actions can be ruled out before the neighbour's is known, and player i needs
    `players - i` steps of reasoning. One equilibrium, by iterated dominance. Payoffs are integers 0 to 20. Ours,
    after Kneeland 2015 (Econometrica 83:2065).
    """
    if players < 2 or actions < 2:
        raise UsageError(f"a ring needs 2 players and 2 actions at least, got {players} and {actions}.")
    payoffs = rng.integers(0, 11, (players, actions, actions)).astype(float)
    for i in range(players - 1):
        payoffs[i, rng.permutation(actions), np.arange(actions)] = rng.integers(11, 21, actions)
    payoffs[-1, int(rng.integers(actions))] = rng.integers(11, 21, actions)
    return payoffs


def undominated(payoffs: Floats) -> tuple[list[list[int]], list[int]]:
    """Iterated elimination of strictly dominated actions in a ring: (actions left, round decided) by player.

    Dominance by a single other action. Round r counts eliminations in which a player was left with one action: 1 for
    the player with a dominant action, 0 for a player who is never decided.
    """
    players, actions, _ = payoffs.shape
    left, decided = [list(range(actions)) for _ in range(players)], [0] * players
    round_ = 0
    while True:
        round_ += 1
        before = [list(a) for a in left]
        for i in range(players):
            columns = before[(i + 1) % players]
            table = payoffs[i][np.ix_(before[i], columns)]
            beaten = [(table > table[k]).all(1).any() for k in range(len(before[i]))]
            left[i] = [a for a, out in zip(before[i], beaten) if not out]
            if len(left[i]) == 1 and not decided[i]:
                decided[i] = round_
        if left == before:
            return left, decided


def equilibria(payoffs: Floats) -> list[tuple[int, ...]]:
    """All pure Nash equilibria of a ring by trying every profile: A^players of them."""
    players, actions, _ = payoffs.shape

    def stable(profile: tuple[int, ...]) -> bool:
        return all(
            payoffs[i, a, profile[(i + 1) % players]] >= payoffs[i, :, profile[(i + 1) % players]].max()
            for i, a in enumerate(profile)
        )

    return [p for p in itertools.product(range(actions), repeat=players) if stable(p)]
