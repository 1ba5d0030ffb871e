"""`python -m theblock_node.cli`: `tb-cli` where no script is installed, as in a pod."""

from theblock_node.cli.main import main

main()
