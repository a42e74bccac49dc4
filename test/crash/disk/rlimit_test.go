package disk_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/crash/traffic"
	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// limit gives a running process less of a resource, until the returned
// function is called.
func limit(t *testing.T, pid, resource int, n uint64) (lift func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Prlimit(pid, resource, &old, nil); err != nil {
			t.Error(err)
		}
	}
}

func plain(t *testing.T) (*traffic.Load, *sandbox.Sandbox) {
	t.Helper()
	ledger := traffic.NewLedger()
	sink := traffic.NewSink(t, ledger)
	s := sandbox.Start(t, traffic.Settings(sink)...)
	return traffic.New(t, s, ledger, sink), s
}

// A file may grow no further (RLIMIT_FSIZE, as ulimit -f sets it): the kernel
// sends SIGXFSZ and fails the write. The daemon lives, refuses what does not
// fit for now, and takes what does.
func TestFileSizeLimit(t *testing.T) {
	l, s := plain(t)
	to := s.Env["PEYK_USER2"]
	for _, daemon := range []string{"smtpd", "deliver", "imapd"} {
		pid := s.Pid(daemon)
		lift := limit(t, pid, unix.RLIMIT_FSIZE, 100_000)
		c := smtp(t, s)
		switch got := try(l, c, daemon+"-large", to, 300_000); {
		case daemon == "smtpd" && got != 451 && got != 452:
			t.Errorf("smtpd: %d, want 451 or 452", got)
		case daemon != "smtpd" && got != 0:
			t.Errorf("%s: %d from smtpd", daemon, got)
		}
		if daemon == "deliver" {
			s.Eventually("deliver defers it", func() bool { return strings.Contains(s.Log(), "event=filing-deferred") })
		}
		if daemon == "imapd" {
			reader, err := l.DialIMAP(2)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, reader, "APPEND INBOX "+imapwire.Lit("Subject: large\r\n\r\n"+strings.Repeat("x", 300_000)), "NO")
			wants(t, reader, "APPEND INBOX "+imapwire.Lit("Subject: small\r\n\r\nx\r\n"), "OK")
			reader.Close()
		}
		if got := try(l, c, daemon+"-small", to, 0); got != 0 {
			t.Errorf("%s: a small message: %d", daemon, got)
		}
		lift()
		if got := s.Pid(daemon); got != pid {
			t.Errorf("%s died of it", daemon)
		}
	}
	settle(t, l, s)
}

// A daemon has no descriptors left for those who connect: they wait or are
// refused, those who are there go on, and when descriptors are free again
// everybody is served, without a restart.
func TestNoDescriptors(t *testing.T) {
	l, s := plain(t)
	inside := smtp(t, s)
	if got := try(l, inside, "before", s.Env["PEYK_USER2"], 0); got != 0 {
		t.Fatal(got)
	}
	settle(t, l, s)
	reader, err := l.DialIMAP(2)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	wants(t, reader, "SELECT INBOX", "OK")
	var lifts []func()
	for _, daemon := range []string{"smtpd", "imapd", "pop3d", "deliver", "authd"} {
		pid := s.Pid(daemon)
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		lifts = append(lifts, limit(t, pid, unix.RLIMIT_NOFILE, uint64(len(all))))
	}
	to := s.Env["PEYK_USER2"]
	if got := try(l, inside, "without", to, 0); got != 0 && got != 451 && got != 452 {
		t.Errorf("who is there already: %d", got)
	}
	wants(t, reader, "NOOP", "OK", "NO")
	refused := make(chan error, 1)
	go func() {
		_, err := traffic.DialSMTP(s.Env["PEYK_SMTP"], nil, "", "")
		refused <- err
	}()
	s.Eventually("smtpd cannot accept", func() bool {
		return len(refused) > 0 || strings.Contains(s.Log(), "too many open files")
	})
	for _, lift := range lifts {
		lift()
	}
	within(t, 5*time.Second, "a new session", func() {
		if got := try(l, smtp(t, s), fmt.Sprint("after-", time.Now().UnixNano()), to, 0); got != 0 {
			t.Errorf("afterwards: %d", got)
		}
		readIMAP(t, l)
		readPOP3(t, l, s)
	})
	settle(t, l, s)
}
