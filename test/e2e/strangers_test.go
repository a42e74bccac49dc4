package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// Who is neither the owner of deliver's socket nor in its group cannot connect,
// and deliver refuses whom the control deliver-uids does not name.
func TestDeliverRefusesOtherUsers(t *testing.T) {
	s := sandbox.Start(t)
	control := filepath.Join(s.Env["PEYK_CONTROL"], "deliver-uids")
	if err := os.WriteFile(control, fmt.Appendln(nil, os.Geteuid()+1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kill("deliver") // it comes back, and has read that
	info, err := os.Stat(s.Env["PEYK_LMTP"])
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		t.Errorf("the socket has mode %o", mode)
	}
	s.Eventually("deliver listens", func() bool {
		conn, err := net.Dial("unix", s.Env["PEYK_LMTP"])
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	a := &arena{T: t, s: s}
	c := a.unix(s.Env["PEYK_LMTP"])
	if got, err := c.reply("421"); err != nil || !strings.Contains(got, "may not hand in mail") {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := c.r.ReadString('\n'); err == nil {
		t.Errorf("it goes on: %q", got)
	}
	if !strings.Contains(s.Log(), "event=refused program=deliver reason=uid") {
		t.Error("the refusal is not in the log")
	}
}

// SIGTERM is told to clients in IDLE, and they are not waited for: the next
// imapd is there soon.
func TestTheEndIsToldToIdleClients(t *testing.T) {
	s := sandbox.Start(t)
	a := &arena{T: t, s: s}
	var all []*imapwire.Client
	for range 3 {
		c := a.login()
		a.want(c, "SELECT INBOX", "OK")
		if _, err := c.Send("IDLE"); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Next(); err != nil || r.Tag != "+" {
			t.Fatal(r, err)
		}
		all = append(all, c)
	}
	old := s.Pid("imapd")
	a.soon(func() {
		if err := syscall.Kill(old, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for i, c := range all {
			if r, err := c.Next(); err != nil || r.Kind != "BYE" {
				t.Errorf("client %d: %v, %v", i, r, err)
			}
			if r, err := c.Next(); err == nil {
				t.Errorf("client %d: %q after BYE", i, r.Raw)
			}
		}
		s.Eventually("another imapd", func() bool {
			pid, err := os.ReadFile(filepath.Join(s.Dir, "run", "imapd.pid"))
			return err == nil && strings.TrimSpace(string(pid)) != strconv.Itoa(old)
		})
	})
}
