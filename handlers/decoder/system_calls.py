"""System calls that a decoder may make, and those that only an attacker makes.

``handlers.decoder.seccomp`` builds its filter from them. Each has its number on x86-64
(asm/unistd_64.h) and on aarch64 (asm-generic/unistd.h), or None where the call does not exist.
"""

Numbers = dict[str, tuple[int | None, int | None]]

ALLOWED: Numbers = {
    # descriptors that it has received
    "read": (0, 63),
    "write": (1, 64),
    "writev": (20, 66),
    "pread64": (17, 67),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "recvmsg": (47, 212),
    # memory; for mmap and mprotect see below
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # codec threads
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "exit": (60, 93),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "gettid": (186, 178),
    # its own signals and exit
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "exit_group": (231, 94),
    # clocks, random numbers, and what the C library asks before it sorts or starts a thread
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrandom": (318, 278),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getcpu": (309, 168),
    "getpid": (39, 172),
}

# These depend on their arguments.
CLONE, CLONE3 = (56, 220), (435, 435)
MMAP, MPROTECT = (9, 222), (10, 226)
TGKILL, PRLIMIT = (234, 131), (302, 261)
SECCOMP = (317, 277)

HOSTILE: Numbers = {
    # other programs
    "execve": (59, 221),
    "execveat": (322, 281),
    # the network and other processes' sockets
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # parts of the kernel through which sandboxes have been escaped
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "open_by_handle_at": (304, 265),
    # the system
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
}
