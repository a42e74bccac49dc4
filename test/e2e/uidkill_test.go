package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// An imapd that gives UIDs to new mail is killed at any moment. Whatever it
// said before is still true for the next one, and nothing is lost.
func TestUIDsOutliveKills(t *testing.T) {
	rounds := 32
	if testing.Short() {
		rounds = 10
	}
	s := sandbox.Start(t)
	root := filepath.Join(s.Dir, "kill", "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	control := filepath.Join(s.Env["PEYK_CONTROL"], "mail-directories")
	if err := os.WriteFile(control, []byte(filepath.Join(s.Dir, "kill")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	u := uidBook{T: t, subject: map[uint64]string{}}
	whole := time.Duration(0)
	n := 0
	for round := range rounds {
		for range 1 + r.IntN(3) {
			n++
			name := fmt.Sprintf("%d.M%dP1.h", 1_700_000_000+n, n)
			if err := os.WriteFile(filepath.Join(root, "new", name), fmt.Appendf(nil, "Subject: s%d\n\nb\n", n), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// Every fourth is left alone: it shows the truth, and how long it takes.
		if round%4 == 0 {
			start := time.Now()
			u.read(talkTo(s, root, 0, n))
			whole = time.Since(start)
			continue
		}
		u.read(talkTo(s, root, 1+time.Duration(r.Int64N(int64(whole))), n))
	}
	for _, trap := range traps() {
		n++
		if err := os.WriteFile(filepath.Join(root, "new", fmt.Sprintf("%d.M%dP1.h", 1_700_000_000+n, n)), fmt.Appendf(nil, "Subject: s%d\n\nb\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
		u.read(talkTo(s, root, 0, n, trap...))
	}
	u.read(talkTo(s, root, 0, n))
	if len(u.subject) < n {
		t.Errorf("%d messages were told of %d", len(u.subject), n)
	}
	t.Logf("%d messages, %d answers of processes that were killed", n, u.cut)
}

// traps are commands that kill imapd at its Nth system call of a kind, for
// every N and every kind that changes files. They take minutes, so PEYK_MODEL
// asks for them, and they need strace.
func traps() (all [][]string) {
	if _, err := exec.LookPath("strace"); err != nil || os.Getenv("PEYK_MODEL") == "" {
		return nil
	}
	for call, most := range map[string]int{"openat": 40, "write": 16, "pwrite64": 4, "fsync": 8, "fdatasync": 4, "rename": 6, "renameat": 10, "renameat2": 6, "link": 3, "linkat": 8, "unlink": 4, "unlinkat": 10, "ftruncate": 4, "utimensat": 4} {
		for when := range most {
			all = append(all, []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, when+1)})
		}
	}
	return all
}

// talkTo runs one imapd over a Maildir and returns what it said; it is killed
// after a while, unless that is 0. It may run under another command.
func talkTo(s *sandbox.Sandbox, root string, after time.Duration, n int, under ...string) []byte {
	args := append(under, filepath.Join(s.Bin, "imapd"), "-control", s.Env["PEYK_CONTROL"], "-preauth", root)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader("a SELECT INBOX\r\nb FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n" +
		"c APPEND INBOX " + imapwire.Lit(fmt.Sprintf("Subject: appended behind %d\r\n\r\n", n)) + "\r\nd FETCH * (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\ne LOGOUT\r\n")
	var out bytes.Buffer
	cmd.Stdout = &out
	if cmd.Start() != nil {
		return nil
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	cmd.Wait()
	return out.Bytes()
}

// A uidBook is what was told about UIDs.
type uidBook struct {
	*testing.T
	validity uint64
	subject  map[uint64]string
	next     uint64
	cut      int
}

func (u *uidBook) read(out []byte) {
	u.Helper()
	all, err := imapwire.ReadAll(bytes.NewReader(out))
	if err != nil || len(all) == 0 || all[len(all)-1].Tag != "e" {
		u.cut++
	}
	last := uint64(0)
	for _, r := range all {
		switch {
		case r.Code == "UIDVALIDITY":
			u.check(r.CodeArgs[0].Num())
		case r.Code == "UIDNEXT":
			if next := r.CodeArgs[0].Num(); next < u.next {
				u.Errorf("UIDNEXT %d after %d", next, u.next)
			} else {
				u.next = next
			}
		case r.Kind == "FETCH":
			last = u.message(r, last)
		}
	}
}

func (u *uidBook) check(validity uint64) {
	u.Helper()
	if u.validity != 0 && u.validity != validity {
		u.Errorf("UIDVALIDITY %d after %d", validity, u.validity)
	}
	u.validity = validity
}

func (u *uidBook) message(r *imapwire.Response, last uint64) uint64 {
	u.Helper()
	v, _ := r.Item("UID")
	uid := v.Num()
	header, ok := r.Item("BODY[HEADER.FIELDS (SUBJECT)]")
	if !ok {
		return last
	}
	if r.Num > 1 && uid < last {
		u.Errorf("UID %d behind UID %d", uid, last)
	}
	if old, ok := u.subject[uid]; ok && old != header.Text {
		u.Errorf("UID %d was %q and is %q", uid, old, header.Text)
	}
	u.subject[uid] = header.Text
	return uid
}
