"""The vector back-ends leave no function to the linker's choice.

    vector_symbols_test.py NM ARCHIVE

An inline function of a header that avx2.cpp or avx512.cpp emits as a weak symbol may become the program's only copy, and then runs on
processors that lack these instructions.
"""
import subprocess
import sys

VECTOR_OBJECTS = {"avx2.cpp.o", "avx512.cpp.o"}


def main(nm, archive):
    listed = subprocess.run([nm, "-C", archive], capture_output=True, check=True, text=True).stdout
    seen, problems, current = set(), [], None
    for line in listed.splitlines():
        if line.endswith(".o:"):
            current = line[:-1]
            seen.add(current)
        elif current in VECTOR_OBJECTS and any(f" {kind} " in line[:20] for kind in "VWuvw"):
            problems.append(f"{current}: weak symbol{line[18:]}")
    problems += [f"{archive} holds no {name}" for name in sorted(VECTOR_OBJECTS - seen)]
    for problem in problems:
        print(problem)
    print(f"vector symbols: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
