package imapd

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/guardconn"
)

// converse is talk for commands that all come at once. It returns how much
// output waited at most: the buffer is not given back while commands wait.
func converse(t *testing.T, o *Options, commands ...string) (out []byte, most int) {
	t.Helper()
	pipe := &pipeConn{in: bytes.NewReader([]byte(strings.Join(commands, "\r\n") + "\r\nlast LOGOUT\r\n"))}
	srv := New(*o)
	defer srv.Close()
	s := newSession(context.Background(), srv, o, guardconn.NewConn(pipe, guardconn.Options{Now: time.Now}))
	s.run()
	most = cap(s.out)
	s.close()
	return pipe.out.Bytes(), most
}

// maildirOf is the Maildir of a session with these files.
func maildirOf(t testing.TB, n int, text func(i int) string) *Options {
	t.Helper()
	root := filepath.Join(t.TempDir(), "m")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		one := text(i)
		if err := os.WriteFile(filepath.Join(root, "cur", fmt.Sprintf("%d.M1P1.h,S=%d,W=%d:2,", 1_700_000_000+i, len(one), len(one)+strings.Count(one, "\n"))), []byte(one), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Options{Host: newHost(t), Now: time.Now, Rand: rand.Reader, Limits: DefaultLimits(), Preauth: root, Hostname: "h"}
}

// What one command asks for is sent piece by piece, however much it is.
func TestAnswersAreNotGathered(t *testing.T) {
	header := maildirOf(t, 1, func(int) string { return strings.Repeat("X-Field: "+strings.Repeat("v", 990)+"\n", 900) + "\nx\n" })
	var sections []string
	for i := range maxSections {
		sections = append(sections, fmt.Sprintf("BODY.PEEK[HEADER.FIELDS.NOT (A%d)]", i))
	}
	out, most := converse(t, header, "a SELECT INBOX", "b FETCH 1 ("+strings.Join(sections, " ")+")")
	if len(out) < maxSections*900_000 || most > 4<<20 {
		t.Errorf("%d octets were sent, of which %d waited", len(out), most)
	}
	many := maildirOf(t, 6000, func(int) string { return "\n" })
	out, most = converse(t, many, "a SELECT INBOX", `b STORE 1:* +FLAGS.SILENT (\Deleted)`, "c EXPUNGE")
	if !bytes.Contains(out, []byte("c OK ")) || most > 2*flushAt {
		t.Errorf("%d octets were sent, of which %d waited", len(out), most)
	}
}
