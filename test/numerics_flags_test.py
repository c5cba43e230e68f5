"""Rules 1 and 2 of the numerics contract, where a machine can see them: how gpu/ and model/ are compiled, and that they call no libm.

    numerics_flags_test.py ROOT COMPILE_COMMANDS   prints file: what is wrong; exit 1 if anything is
    numerics_flags_test.py --self-test             feeds bad commands and snippets and expects each to be caught

A line that must name such a function carries the comment `// libm-ok: reason`.
"""
import json
import os
import re
import shlex
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from source_tree import CODE, project_files, read_text, without_comments  # noqa: E402

FOLDERS = ("gpu/", "model/")

# Each lets the compiler change a value. -fno-math-errno and -fno-trapping-math do not.
BAD_FLAGS = {"-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math",
             "-ffinite-math-only", "-fno-signed-zeros", "-fsingle-precision-constant",
             "-fcx-limited-range", "-mrecip", "-mfpmath=387", "-mdaz-ftz", "--use_fast_math", "-use_fast_math"}
CUDA_FLAGS = {"--fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true"}

# What libm picks by processor or rounds as it likes. fma, sqrt, nearbyint, rint, round, floor, ceil, trunc, abs, copysign, fmin, fmax,
# isfinite, frexp, ldexp and fmod are exact and allowed.
LIBM = ("exp exp2 exp10 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh sincos "
        "pow cbrt hypot erf erfc tgamma lgamma").split()
NAMES = "|".join(sorted(LIBM, key=len, reverse=True))
CALLS = [
    (re.compile(rf"(?<![\w>])(?:std\s*)?::\s*(?:{NAMES})[fl]?\b(?!\s*::)"), "libm"),
    (re.compile(rf"(?<!->)(?<![\w.:])(?:__builtin_|__)?(?:{NAMES})[fl]?\s*\("), "libm"),
    (re.compile(r"\b_mm(?:256|512)?_(?:mask_|maskz_)?(?:rcp|rsqrt)\w*"), "an approximation"),
    (re.compile(r"\b_mm(?:256|512)?_(?:mask_|maskz_)?(?:dpbf16|cvtneps?_?pbh|cvtne2?ps)\w*|\bvdpbf16ps\b|\bvcvtneps2bf16\b"),
     "an instruction that flushes denormals"),
]
ALLOWED = re.compile(r"//\s*libm-ok:\s*\S")


def check_command(path, arguments):
    """Yields what is wrong with one compile command."""
    contract = [a for a in arguments if a.startswith("-ffp-contract")]
    if not path.endswith((".cu", ".cuh")):
        if not contract:
            yield "compiled without -ffp-contract=off"
        elif contract[-1] != "-ffp-contract=off":
            yield f"compiled with {contract[-1]}"
    else:
        for missing in sorted(CUDA_FLAGS - set(arguments)):
            yield f"compiled without {missing}"
    for argument in arguments:
        if argument.split("=")[0] in BAD_FLAGS or argument in BAD_FLAGS:
            yield f"compiled with {argument}"


def check_source(text):
    """Yields (line number, what is wrong)."""
    raw = text.splitlines()
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        if ALLOWED.search(raw[number - 1]):
            continue
        for pattern, what in CALLS:
            if match := pattern.search(line):
                yield number, f"{what}: {match[0].strip()} (numerics rules 1 and 2; see gpu/math.hpp, or say // libm-ok: reason)"
                break


def main(root, commands):
    problems = []
    compiled = dict.fromkeys(FOLDERS, 0)
    with open(commands, encoding="utf-8") as file:
        entries = json.load(file)
    for entry in entries:
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
        folder = next((f for f in FOLDERS if path.startswith(f)), None)
        if folder is None:
            continue
        compiled[folder] += 1
        arguments = entry.get("arguments") or shlex.split(entry["command"])
        problems += [f"{path}: {wrong}" for wrong in check_command(path, arguments)]
    problems += [f"{commands}: compiles nothing of {folder}: nothing was checked" for folder, count in compiled.items() if count == 0]

    sources = [p for p in project_files(root) if p.startswith(FOLDERS) and p.endswith(CODE)]
    for path in sources:
        text = read_text(os.path.join(root, path))
        problems += [f"{path}:{number}: {wrong}" for number, wrong in check_source(text or "")]
    for problem in problems:
        print(problem)
    print(f"numerics flags: {sum(compiled.values())} compile commands, {len(sources)} sources, {len(problems)} problems")
    return 1 if problems else 0


def self_test():
    failures = []
    good_flags = "g++ -O3 -ffp-contract=off -fno-math-errno -c"
    cuda_flags = "nvcc --fmad=false -ftz=false -prec-div=true -prec-sqrt=true -c"
    bad_commands = [
        ("a.cpp", "g++ -O3 -c", "without -ffp-contract=off"),
        ("a.cpp", "g++ -ffp-contract=off -ffp-contract=fast -c", "with -ffp-contract=fast"),
        ("a.cpp", good_flags + " -ffast-math", "with -ffast-math"),
        ("a.cpp", good_flags + " -Ofast", "with -Ofast"),
        ("a.cpp", good_flags + " -funsafe-math-optimizations", "with -funsafe-math-optimizations"),
        ("a.cpp", good_flags + " -mrecip=all", "with -mrecip=all"),
        ("a.cu", "nvcc -ftz=false -prec-div=true -prec-sqrt=true -c", "without --fmad=false"),
        ("a.cu", cuda_flags + " --use_fast_math", "with --use_fast_math"),
    ]
    for path, command, expected in bad_commands:
        found = list(check_command(path, command.split()))
        if len(found) != 1 or expected not in found[0]:
            failures.append(f"{command!r} should give {expected!r}, gave {found}")
    for path, command in [("a.cpp", good_flags), ("a.cu", cuda_flags), ("a.cpp", "g++ -ffp-contract=fast -ffp-contract=off")]:
        if found := list(check_command(path, command.split())):
            failures.append(f"{command!r} is allowed, gave {found}")

    bad_lines = ["y = std::exp(x);", "y = expf(x);", "y = exp(x);", "y = ::sin(x);", "y = std :: cosf (x);", "y = std::pow(x, 2);",
                 "y = __builtin_tanhf(x);", "y = __expf(x);", "std::transform(a, b, c, std::log);", "y = 2*log1p(x);", "if (a>erf(b))",
                 "y = _mm256_rsqrt_ps(x);", "y = _mm512_rcp14_ps(x);", "y = _mm512_dpbf16_ps(a, b, c);", "y = _mm512_cvtneps_pbh(a);",
                 'asm("vdpbf16ps %0, %1, %2");', "y = exp(x); // libm-ok:"]
    good_lines = ["y = std::fma(a, b, c);", "y = fmaf(a, b, c);", "y = std::sqrt(x);", "y = std::nearbyintf(x);", "y = std::ldexp(x, 2);",
                  "y = exp_f32(x);", "y = sin_f64(x);", "y = cos[i] * sin[i];", 'quadrant::log::warn("a", "b");', 'log::info("a", "b");',
                  "// std::exp(x)", "/* expf(x) */", "table.log(x);", "table->pow(x);", "y = std::exp(x); // libm-ok: a table made offline",
                  "y = std::round(x) + std::floor(x) + std::abs(x);", "y = _mm512_dpbusd_epi32(a, b, c);", "y = gpu::exp_f32(x);",
                  "y = _mm256_cvtps_epi32(x);"]
    for line in bad_lines:
        if [number for number, _ in check_source("\n" + line)] != [2]:
            failures.append(f"{line!r} should be a problem in line 2")
    for line in good_lines:
        if found := list(check_source(line)):
            failures.append(f"{line!r} is allowed, gave {found}")
    for failure in failures:
        print(failure)
    print(f"numerics flags self-test: {len(bad_commands) + len(bad_lines)} bad cases, {len(good_lines) + 3} good ones, "
          f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2]))
