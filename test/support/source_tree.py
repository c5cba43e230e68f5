"""The project's files, and C++ text without its comments: what the rule tests read."""
import os
import re
import subprocess

CODE = (".cpp", ".hpp", ".cc", ".c", ".h", ".inl", ".cu", ".cuh")

# String and character literals come first, so that a "//" inside one starts no comment.
TOKEN = re.compile(
    r'R"([^()\\ ]{0,16})\((?:.|\n)*?\)\1"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|(?P<comment>//[^\n]*|/\*(?:.|\n)*?\*/)")


def project_files(root):
    """Paths relative to root: tracked and new ones, without what git ignores; outside git, everything but build outputs."""
    try:
        listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                capture_output=True, check=True).stdout
        names = {name.decode() for name in listed.split(b"\0") if name}
        return sorted(name for name in names if os.path.isfile(os.path.join(root, name)))
    except (OSError, subprocess.CalledProcessError):
        pass
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in (".git", ".cache", "__pycache__") and os.path.join(folder, f) != os.path.join(root, "build")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def without_comments(text):
    """The same lines, with comments blanked out."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match[0]) if match["comment"] else match[0]
    return TOKEN.sub(blank, text)


def read_text(path, limit=1 << 20):
    """The file's text, or None where it is large or no text."""
    if os.path.getsize(path) > limit:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        return None
