"""The limit on open files of this process."""

import resource


def raise_limit() -> int:
    """Raise this process's limit on open files as far as the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS rejects "unlimited", and more than the kernel's limit
            return soft
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
