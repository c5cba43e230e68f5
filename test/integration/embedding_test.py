"""A program outside the tree, built against an installed prefix, serves by itself and gives the program's answer.

    embedding_test.py PROGRAM
"""
import subprocess
import sys
import tempfile
from pathlib import Path

from quadrant import MODEL, ROOT, check, main, run_json


def sh(*command):
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f"{command}:\n{done.stdout}")
    return done.stdout


def an_embedded_cluster_answers(program):
    """an out-of-tree program finds the package, builds, and its cluster answers as the program does"""
    with tempfile.TemporaryDirectory() as folder:
        sh("cmake", "--install", Path(program).parent, "--prefix", f"{folder}/prefix")
        sh("cmake", "-G", "Ninja", "-S", ROOT / "test" / "embedding", "-B", f"{folder}/build", f"-DCMAKE_PREFIX_PATH={folder}/prefix")
        sh("cmake", "--build", f"{folder}/build")
        lines = sh(f"{folder}/build/dictionary_walk", MODEL, "violin", 2).splitlines()
        check(lines[0] == run_json(program, "What is a violin?")["text"], lines)
        check(len(lines) == 2, lines)


if __name__ == "__main__":
    main([an_embedded_cluster_answers], sys.argv[1])
