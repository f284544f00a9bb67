"""`hcexp evaluate` in a process of its own that takes its time before every set; `python killing.py ARGUMENTS`."""

import sys
import time


def main() -> None:
    from hcexp.cli import main
    from hcexp.evaluation import Suite

    score = Suite.score

    def slowly(self, model, name, **options):
        time.sleep(0.3)
        return score(self, model, name, **options)

    Suite.score = slowly
    sys.exit(main(["evaluate", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
