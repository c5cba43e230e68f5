"""The rules of the tree: which folder may include which, where each foreign library is at home, and what no file may say.

    layering_test.py ROOT          reads every file under ROOT; prints file:line: what is wrong; exit 1 if anything is
    layering_test.py --self-test   feeds bad snippets and expects each to be caught
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from source_tree import CODE, project_files, read_text, without_comments  # noqa: E402

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md",
             "actors", "gpu", "transport", "scheduler", "model", "config", "test", "scripts"}

# Arrows: what a folder may include beside itself.
MAY_INCLUDE = {
    "config": set(),
    "gpu": {"config"},
    "model": {"config", "gpu"},
    "transport": {"config"},
    "scheduler": {"config"},
    "actors": {"config", "gpu", "model", "transport", "scheduler"},
    "test": {"config", "gpu", "model", "transport", "scheduler", "actors"},
}

# Foreign libraries: (name, include path, homes). A home's tests, test/<home>, are home too.
HOMES = [
    ("CAF", r"caf/", ["actors"]),
    ("Cap'n Proto", r"(capnp|kj)/|.*\.capnp\.h$", ["actors", "transport"]),
    ("CUDA", r"cu(da|blas|rand|tlass|te/|pti|fft)|nccl|nv(ml|tx|rtc|to)", ["gpu/cuda"]),
    ("RDMA verbs", r"(infiniband|rdma)/", ["transport/rdma"]),
    ("Boost.Beast", r"boost/beast", ["actors"]),
]

# Written with [.] and the like, so that this file does not break its own rule.
NEVER = [
    (r"(?<![\w.~-])/(?:work|root|home)/(?!\*)", "a path of one machine"),
    (r"(?<![\w/.-])[.]{2}/shared\b", "a path outside the project"),
    (r"huggingface[.]co|\bhf[.]co\b|hf[-]mirror|modelscope[.]cn", "a download host"),
    (r"(?:deb|snapshot|security)[.]debian[.]org|pypi[.]org|files[.]pythonhosted|registry[.]npmjs|raw[.]githubusercontent"
     r"|github[.]com/\S+/releases/download", "a download host"),
]

INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*(["<])([^">]+)[">]')


def folder_of(path):
    return path.split("/", 1)[0]


def is_home(path, homes):
    return any(path.startswith((home + "/", f"test/{home}/")) for home in homes)


def check_include(path, quote, included):
    """What is wrong with this include in this file, or None."""
    for library, pattern, homes in HOMES:
        if re.match(pattern, included) and not is_home(path, homes):
            return f"{library} is at home in {', '.join(h + '/' for h in homes)} only: <{included}>"
    if quote == "<":
        return None
    source, target = folder_of(path), folder_of(included)
    if target not in MAY_INCLUDE or "/" not in included:
        return f'name "{included}" from the root of the repository'
    if source not in MAY_INCLUDE:
        return f"{source}/ holds no C++"
    if target != source and target not in MAY_INCLUDE[source]:
        return f"{source} may not include {target} (arrow)"
    if included.startswith("actors/bin/") and not is_home(path, ["actors/bin"]):
        return "actors/bin is the program: nothing includes it"
    return None


def check_file(path, text):
    """Yields (line number, what is wrong)."""
    for pattern, what in NEVER:
        for match in re.finditer(pattern, text):
            yield text.count("\n", 0, match.start()) + 1, f"{what}: {match[0]}"
    if path.endswith(".capnp") and not is_home(path, ["actors", "transport"]):
        yield 1, "schemas are at home in actors/, transport/ only"
    if path.endswith(CODE):
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            if include := INCLUDE.match(line):
                if wrong := check_include(path, *include.groups()):
                    yield number, wrong


def check_names(paths):
    for top in sorted({folder_of(path) for path in paths}):
        if top not in TOP_LEVEL and not top.startswith("."):
            yield f"{top}: not one of the allowed names at the top: {' '.join(sorted(TOP_LEVEL))} and dot-files"


def main(root):
    paths = project_files(root)
    problems = list(check_names(paths))
    sources = 0
    for path in paths:
        text = read_text(os.path.join(root, path))
        if text is None:
            continue
        sources += path.endswith(CODE)
        problems += [f"{path}:{number}: {wrong}" for number, wrong in check_file(path, text)]
    if sources == 0:
        problems.append(f"{root}: no source file was found: nothing was checked")
    for problem in problems:
        print(problem)
    print(f"layering: {len(paths)} files, {sources} of them sources, {len(problems)} problems")
    return 1 if problems else 0


def self_test():
    bad = [
        ("model/a.cpp", '#include "transport/endpoint.hpp"', "model may not include transport (arrow)"),
        ("gpu/a.cpp", '  #  include "scheduler/block_pool.hpp"', "gpu may not include scheduler"),
        ("transport/a.hpp", '#include "gpu/ops.hpp"', "transport may not include gpu"),
        ("scheduler/a.hpp", '#include "model/shard.hpp"', "scheduler may not include model"),
        ("config/a.hpp", '#include "gpu/ops.hpp"', "config may not include gpu"),
        ("actors/a.cpp", '#include "test/support/property.hpp"', "actors may not include test"),
        ("actors/a.cpp", '#include "actors/bin/run.hpp"', "nothing includes it"),
        ("gpu/a.cpp", '#include "ops.hpp"', "from the root of the repository"),
        ("gpu/a.cpp", '#include "../config/check.hpp"', "from the root of the repository"),
        ("scripts/a.cpp", '#include "config/check.hpp"', "holds no C++"),
        ("scheduler/a.cpp", "#include <caf/all.hpp>", "CAF is at home in actors/"),
        ("test/scheduler/a.cpp", "#include <caf/all.hpp>", "CAF is at home in actors/"),
        ("model/a.cpp", "#include <capnp/message.h>", "Cap'n Proto is at home"),
        ("model/a.cpp", "#include <kj/io.h>", "Cap'n Proto is at home"),
        ("scheduler/a.cpp", '#include "actors/messages/steps.capnp.h"', "Cap'n Proto is at home"),
        ("model/steps.capnp", "@0xd3a1c0de51ab1e04;", "schemas are at home"),
        ("gpu/cpu/a.cpp", "#include <cuda_runtime.h>", "CUDA is at home in gpu/cuda/"),
        ("gpu/cpu/a.cpp", "#include <nccl.h>", "CUDA is at home in gpu/cuda/"),
        ("transport/tcp/a.cpp", "#include <infiniband/verbs.h>", "RDMA verbs"),
        ("transport/a.cpp", "#include <rdma/rdma_cma.h>", "RDMA verbs"),
        ("transport/a.cpp", "#include <boost/beast/http.hpp>", "Boost.Beast is at home in actors/"),
        ("README.md", "run it in " + "/ro" "ot/quadrant", "a path of one machine"),
        ("scripts/a", "cp ../sha" "red/x .", "a path outside the project"),
        ("README.md", "https://hugging" "face.co/x", "a download host"),
    ]
    good = [
        ("actors/a.cpp", '#include <caf/all.hpp>\n#include <kj/io.h>\n#include "actors/b.hpp"\n#include "gpu/ops.hpp"'),
        ("test/actors/a.cpp", '#include <caf/all.hpp>\n#include "actors/messages/steps.capnp.h"'),
        ("model/a.cpp", '// #include "transport/endpoint.hpp"\n/*\n#include <caf/all.hpp>\n*/\n#include "gpu/ops.hpp"'),
        ("transport/rdma/a.cpp", '#include <infiniband/verbs.h>\n#include "transport/endpoint.hpp"'),
        ("gpu/cuda/a.cu", "#include <cuda_runtime.h>\n#include <nccl.h>"),
        ("test/model/a.cpp", '#include "test/support/property.hpp"\n#include "scheduler/block_pool.hpp"'),
        ("config/a.cpp", "#include <cstdio>\n#include <curses.h>"),
    ]
    failures = []
    for path, text, expected in bad:
        line = 1 if path.endswith(".capnp") else 2
        found = list(check_file(path, "\n" + text))
        if len(found) != 1 or found[0][0] != line or expected not in found[0][1]:
            failures.append(f"{path}: {text!r} should give one problem with {expected!r} in line {line}, gave {found}")
    for path, text in good:
        if found := list(check_file(path, text)):
            failures.append(f"{path}: {text!r} is allowed, gave {found}")
    if not any("notes" in wrong for wrong in check_names(["notes/a.md", "gpu/a.cpp", ".gitignore", "README.md"])):
        failures.append("notes/ at the top should be a problem")
    if list(check_names(["gpu/a.cpp", ".gitignore", "README.md", "CMakeLists.txt"])):
        failures.append("allowed names at the top should be none")
    for failure in failures:
        print(failure)
    print(f"layering self-test: {len(bad)} bad and {len(good)} good snippets, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(self_test() if sys.argv[1] == "--self-test" else main(sys.argv[1]))
