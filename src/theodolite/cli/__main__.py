from theodolite.cli.app import main

main()
