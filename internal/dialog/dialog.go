// Package dialog runs protocol tests that are written as dialogues: files in
// test/e2e/PROGRAM/*.dlg that say what the client sends and what the server
// must answer. Only tests import it.
//
// A file is read line by line. Blank lines do not count.
//
//	# text          a comment; the first one names the rule that is tested
//	set NAME=VALUE  a control setting for the server, before any connection
//	connect [NAME]  open a connection to a service and make it the current one;
//	                the first step connects by itself
//	use N           make the Nth connection (from 1) the current one
//	C: text         send text and CRLF
//	B: text         send text only, with Go escapes (\r \n \x00 \t \\)
//	S: glob         the next line must match; * stands for any run of bytes
//	S* glob         skip lines until one matches
//	S! glob         no line up to the end of the reply may match. The end is the
//	                next S: or S* if one follows (lines before it are skipped),
//	                else the last line as SMTP, IMAP or POP3 mark it
//	EOF             the server must close the connection, saying no more
//	STARTTLS        make the TLS handshake now; the certificate is not verified
//	HALFCLOSE       close our direction only
//	CLOSE           close the connection
//	WAIT 50ms       wait; only where the protocol is about time
//	REPEAT n STEP   the same C:, B:, S: or S* step n times
//
// Every line of the server must end in CRLF.
package dialog

import (
	"net"
	"path/filepath"
	"testing"
)

// A Dialer opens a connection to one of the services of the server under
// test; "" is its first.
type Dialer func(service string) (net.Conn, error)

// Start brings up the server that one dialogue talks to, with the settings of
// the file, and arranges by t.Cleanup for its end.
type Start func(t *testing.T, settings map[string]string) Dialer

// Run runs one dialogue file.
func Run(t *testing.T, path string, start Start) {
	t.Helper()
	s, err := parseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, script: s, dial: start(t, s.settings)}
	defer p.close()
	if err := p.play(); err != nil {
		t.Fatalf("%v\n# %s\ntranscript:\n%s", err, s.rule, p.transcript.String())
	}
}

// RunDir runs every dialogue of a directory as a parallel subtest.
func RunDir(t *testing.T, dir string, start Start) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.dlg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot find dialogues in %s: %v", dir, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			Run(t, f, start)
		})
	}
}
