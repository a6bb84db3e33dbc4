"""Every number that bounds something, in one place, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that hold everywhere; a test reaches each of them."""

    # The gate in front of Perspective Broker.
    gate_frame_bytes: int = 1024
    gate_seconds: float = 15.0
    unix_connections_before_login: int = 16  # of one user
    strangers_before_login: int = 64  # of all users but root and the daemon's own
    refusals_told: int = 100  # users of whose refusal the log tells, once each
    tcp_connections_before_login: int = 32  # in all; those of UNIX sockets are counted apart
    tcp_connections_before_login_per_source: int = 4
    descriptors_for_tcp: float = 0.8  # of those allowed; programs need the others to be started
    keepalive_seconds: int = 60  # of silence, then TCP asks whether the peer is there
    keepalive_repeat_seconds: int = 15
    keepalive_times: int = 4
    tcp_unacknowledged_seconds: int = 120

    # Logins by password: one costs the daemon 25 ms, or 6 with gmpy2.
    login_starts_per_second: float = 10.0  # over TCP, in all: a quarter of a processor
    login_starts_at_once: int = 30
    failures_per_source: int = 5  # an address, or an IPv6 network of 64 bits, or a user on UNIX
    failures_per_source_seconds: float = 60.0
    lockout_seconds: float = 60.0  # then twice as long each time
    lockout_seconds_most: float = 3600.0  # has to fit into the two bytes that tell it
    clean_seconds: float = 3600.0  # without a failure, after which none is remembered
    failures_per_user: int = 10  # then an answer takes longer
    failures_per_user_seconds: float = 600.0
    login_delay_seconds: float = 1.0  # then twice as long each time
    login_delay_seconds_most: float = 8.0  # well below gate_seconds
    failing_remembered: int = 4096  # sources, and users: 5 MiB at worst
    refusals_told_at_once: int = 10  # one by one, in so many seconds; then they are counted
    refusals_told_seconds: float = 60.0

    # One message of Perspective Broker, once logged in.
    broker_expression_bytes: int = 256 * 1024
    broker_string_bytes: int = 128 * 1024
    broker_items: int = 20_000
    broker_list_items: int = 10_000
    broker_depth: int = 24
    broker_prefix_digits: int = 10
    broker_answers_owed: int = 32
    broker_references: int = 16  # in one argument list or answer
    broker_name_bytes: int = 64  # the name of a verb
    broker_messages_per_turn: int = 64  # then everybody else has their turn
    denials_logged: int = 10  # of one session
    broker_failures_logged: int = 10  # tracebacks in our log that one connection can cause

    # Sessions.
    sessions: int = 256  # of all users but root and the daemon's own at a UNIX socket
    sessions_per_user: int = 64
    idle_seconds: float = 3600.0  # of a session over TCP or by password: a terminal was forgotten
    session_seconds: float = 86_400.0  # of such a session, then its user proves anew who they are
    subscriptions_per_session: int = 16
    calls_per_second: float = 2000.0

    # Answers: what is larger is fetched page by page.
    page_bytes: int = 64 * 1024
    answers_waiting_per_session: int = 4
    answer_bytes: int = 64 * 1024 * 1024
    answer_items: int = 1_000_000
    answer_plain_bytes: int = 8 * 1024  # larger ones are compressed
    chunks_unacknowledged: int = 4
    undelivered_seconds: float = 30.0

    # Arguments of a call.
    name_characters: int = 256
    names_searched: int = 300  # for those that are like an unknown one; takes some 10 ms
    stdin_bytes: int = 64 * 1024  # that wait for a program to read them

    # Logs.
    piece_bytes: int = 60 * 1024
    log_read_bytes: int = (
        64 * 1024
    )  # in one turn: whoever writes at full speed keeps nobody waiting
    log_splice_bytes: int = 1024 * 1024  # in one turn, where no byte passes through our memory
    log_pipe_bytes: int = 256 * 1024  # that hold what is printed while we do something else
    log_drain_bytes: int = (
        1024 * 1024
    )  # at the end of a process: a pipe that it enlarged holds that
    log_line_bytes: int = 64 * 1024  # of a line that is never cut, whatever the size of its file
    compressed_at_once_bytes: int = 256 * 1024  # of an older log, in a thread
    daily_seconds: float = 3600.0  # until it is noticed that somebody has set the clock
    log_notes: int = 10  # of logs in trouble, in one answer; the others are counted
    log_retry_seconds: float = 1.0  # after trouble with a file, in which what is printed is lost
    tail_scan_bytes: int = 1024 * 1024
    tail_lines: int = 15
    log_told_seconds: float = 60.0  # until it is told again that output of the same log is lost
    lines_read_bytes: int = 8 * 1024  # in one turn, where each line is handled: 5 ms at worst
    target_bytes: int = 1024 * 1024  # that wait for a reader of a FIFO, or for a syslog server
    target_share_bytes: int = 128 * 1024  # of one log, so that the others find room
    target_writes_per_turn: int = 256  # some 2 ms; then everybody has their turn
    target_last_seconds: float = 2.0  # that a daemon waits at its end for what is to be written
    syslog_bytes: int = 8 * 1024  # of one message, as rsyslog takes them
    syslog_udp_bytes: int = 2 * 1024  # RFC 5426: what servers should take
    syslog_connect_seconds: float = 10.0  # that one try may take
    syslog_retry_seconds_max: float = 30.0  # between two tries, which begin a second apart

    # Deputies: processes that handle files in the name of a user.
    deputies: int = 4  # at once, each with a copy of what the daemon's memory changes meanwhile
    deputy_seconds: float = 1.0  # that one is kept after its last use; a start of many takes less
    deputy_answer_seconds: float = 2.0  # that the daemon waits for a file system, all in all
    deputy_hung_seconds: float = 30.0  # that it does not try one again that kept it waiting
    deputy_requests: int = 100_000  # then another one is taken: some seconds of its processor time
    deputy_cpu_seconds: int = 60
    deputy_files: int = 8  # that it may have open; it needs five

    # Processes.
    files_at_most: int = (
        1024 * 1024
    )  # open at once, where the system sets no limit; Linux allows as many
    files_kept: int = 16  # for clients and walks, where programs want more than may be open
    turn_seconds: float = 0.004  # of starts, signals or sockets; then everybody has their turn
    telling_seconds: float = 1.0  # that telling of changes waits for what is more urgent
    changes_untold: int = 10_000  # that wait for it
    spawns_under_way: int = 64  # processes that are being made at once
    spawns_in_little_room: int = 4  # the same where programs want more files than may be open
    crowded_seconds: float = 0.1  # for so long others wait until half of these are made
    identity_seconds: float = 1.0  # for so long a user is not looked up again
    environment_file_bytes: int = 64 * 1024
    spawn_request_bytes: int = 128 * 1024  # command and environment, where the daemon cannot exec
    spawn_sockets: int = 240  # of one program; the kernel passes 253 descriptors at once
    spawns_waiting: int = 4096  # for the forker, each with one to three descriptors
    kill_repeat_seconds: float = 1.0
    environ_bytes: int = 256 * 1024  # of another process's environment that are looked at
    command_characters: int = 60  # of another process's name that are told
    watched_at_once: int = 128  # processes of one session; others are seen when these are gone
    escaped_kills: int = 5  # rounds of SIGKILL, then what is left of an escaped tree is told
    cgroup_directories: int = 1000  # below the one of a program, that it made itself
    program_sockets: int = 1024  # a descriptor of the daemon each
    release_seconds: float = 0.1  # until the address of a socket that was closed is free
    holder_messages: int = (
        1024  # that wait for a holder that does not listen, most with a descriptor
    )
    holder_messages_per_turn: int = 16  # from it, some of a thousand lines
    holder_last_word_seconds: float = 5.0  # that a daemon waits at its end for the holder to listen

    half_born_rounds: int = 20  # of looking for what a dead daemon was just making

    # The journal.
    journal_bytes: int = 1024 * 1024  # up to here it is never written anew
    journal_growth: int = 4  # times what holds, then it is written anew
    journal_read_bytes: int = 64 * 1024 * 1024  # 50,000 processes of 1 KiB

    # Events.
    events: int = 2000  # remembered: as many as 500 programs make when all are restarted
    events_bytes: int = 1024 * 1024  # of them; most are of 150
    event_characters: int = 1000  # of its text, and of the names in it
    events_at_once: int = 256  # told in one answer: 2 ms

    # What programs tell by sd_notify(3).
    notice_bytes: int = 4096  # of one datagram; systemd takes as much
    notice_status_characters: int = 200  # more than a line of a table shows
    notice_seconds: float = 366 * 86_400.0  # a timer of the reactor has to bear it
    notices_per_turn: int = 16  # of one program, 4 ms at worst; then everybody else has their turn

    # What is told by `why`.
    exits_kept: int = 20  # of each process
    exits_written: int = 50_000  # of all, when the journal is written anew; 15 MiB at worst
    explained_at_once: int = 10  # processes in one answer, which takes 4 ms
    stopped_by_characters: int = 32  # of a user's name
    waits_told: int = 5  # who waits for whom who waits for whom ...
    why_lines: int = 10  # of output
    why_bytes: int = 4096  # of output: more than a screen is not asked for

    # Passwords.
    password_bytes: int = 1024
    password_characters_least: int = 8
    password_characters_advised: int = 12
    passwd_users: int = 1000
    passwd_bytes: int = 1024 * 1024  # 1,000 users of 1 KiB
    passwd_look_seconds: float = 30.0  # where the kernel does not tell that the file has changed

    # TCP.
    pem_bytes: int = 256 * 1024  # of a certificate and those above it, or of a key
    insecure_told_seconds: float = 86_400.0  # until the log tells again of an insecure port
    activated_sockets: int = 64  # that systemd, or the like, has opened for us

    # Configuration files.
    file_bytes: int = 1024 * 1024
    files: int = 4096
    include_depth: int = 16
    kept_bytes: int = 16 * 1024 * 1024  # of a whole configuration, for the next daemon
    value_characters: int = 64 * 1024
    problems: int = 100  # then the rest is only counted
    processes_per_program: int = 10_000
    processes: int = 50_000  # of all programs; more would take the memory of a small machine
    names_looked_for: int = 3  # what was meant: 0.02 s each among 5,000, long ones up to 2 s
    prompt_characters: int = 64
    user_characters: int = 256
    socket_path_bytes: int = 107  # what struct sockaddr_un holds on Linux

    # The client.
    answer_seconds: float = 10.0
    ping_seconds: float = 15.0
    reconnect_seconds: float = 0.2  # after a loss; then twice as long each time
    reconnect_seconds_most: float = 5.0
    shown_characters: int = 8192  # of one line among those of others; longer ones come in parts

    # The client's logins by password.
    known_hosts: int = 5_000  # lines; the oldest are forgotten
    known_hosts_bytes: int = 4 * 1024 * 1024  # 5,000 lines with the longest names
    stretched_at_once: int = 2  # passwords; each takes a core, and 128 MiB
    logins_at_once: int = 16  # of one client: each takes 50 ms, and daemons wait for gate_seconds
    failed_logins: int = 3  # in a row at one daemon: each lets somebody in between guess once

    # A simulation.
    simulated_seconds: float = 100 * 365 * 86_400.0  # longer times are not exact any more
    simulated_calls: int = 200_000  # timers that run out: up to half a minute of computing
    simulated_lines: int = 1000  # changes that are printed; the rest is counted


LIMITS = Limits()
