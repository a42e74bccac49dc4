// Package disk_test fills disks and takes away file descriptors while mail
// comes and people read.
package disk_test

import (
	"errors"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/test/crash/tmpfs"
	"peyk/test/crash/traffic"
	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(tmpfs.Main(m)) }

// system starts a sandbox, one directory of which is a tmpfs.
func system(t *testing.T, below, options string, settings ...string) (*traffic.Load, *sandbox.Sandbox, *tmpfs.Disk) {
	t.Helper()
	dir, err := os.MkdirTemp("", "peyk-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := tmpfs.Mount(t, filepath.Join(dir, below), options)
	ledger := traffic.NewLedger()
	sink := traffic.NewSink(t, ledger)
	s := sandbox.StartIn(t, dir, append(traffic.Settings(sink), settings...)...)
	return traffic.New(t, s, ledger, sink), s, d
}

// code is the SMTP code of a refusal; 0 is success, -1 no reply at all.
func code(err error) int {
	var reply *textproto.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &reply):
		return reply.Code
	}
	return -1
}

// within runs something that must answer at once. A busy machine may take
// longer to schedule it, so what counts is the best of three.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	var best time.Duration
	for i := range 3 {
		start := time.Now()
		do()
		if took := time.Since(start); i == 0 || took < best {
			best = took
		}
		if best <= limit {
			return
		}
	}
	t.Errorf("%s takes %v", what, best)
}

// wants sends an IMAP command and checks the completion.
func wants(t *testing.T, c *imapwire.Client, command string, kinds ...string) *imapwire.Answer {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	a, err := c.Do(command)
	if err != nil {
		t.Fatalf("%.60q: %v", command, err)
	}
	if !slices.Contains(kinds, a.Kind) && !slices.Contains(kinds, a.Kind+" ["+a.Code+"]") {
		t.Errorf("%.60q: %s [%s] %s, want %q", command, a.Kind, a.Code, a.Text, kinds)
	}
	return a
}

// junk lists what no sweeper removes and nobody reads: files in tmp/ of
// Maildirs and of the drop that hold a message that was given up. smtpd keeps
// some of its small files for use again; they have a second name or are free.
func junk(s *sandbox.Sandbox) (all []string) {
	for _, pattern := range []string{"mail/*/*/Maildir/tmp/*", "mail/*/*/Maildir/.*/tmp/*", "spool/corrupt/*", "spool/hold/*"} {
		found, _ := filepath.Glob(filepath.Join(s.Dir, pattern))
		all = append(all, found...)
	}
	return all
}

// settle waits for everything promised, and judges.
func settle(t *testing.T, l *traffic.Load, s *sandbox.Sandbox) {
	t.Helper()
	v := l.Arrive(time.Minute)
	t.Log(v)
	if len(v.Lost) > 0 || len(v.Wrong) > 0 || v.Extra > 0 {
		t.Errorf("lost %q, wrong %q, copies %q; the end of the log:\n%s", v.Lost, v.Wrong, v.Copies, s.Log()[max(0, len(s.Log())-3000):])
	}
	if left := junk(s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if strings.Contains(s.Log(), "event=panic") || strings.Contains(s.Log(), "event=child-died") {
		t.Error("a daemon died")
	}
}
