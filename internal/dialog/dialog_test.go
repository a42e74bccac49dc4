package dialog

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		glob, s string
		want    bool
	}{
		{"+OK*", "+OK ready", true}, {"+OK", "+OK ready", false}, {"", "", true}, {"", "x", false}, {"*", "", true},
		{"* FETCH *(\\Seen)", "* 1 FETCH (FLAGS (\\Seen)", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"a*a", "a", false}, {"*x", "xx", true}, {"**", "", true},
	} {
		if got := match(c.glob, c.s); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.glob, c.s, got)
		}
	}
}

func TestBytesHaveGoEscapes(t *testing.T) {
	got, err := unescape(`a"b\x00\xff\r\n\\é`)
	if err != nil || got != "a\"b\x00\xff\r\n\\é" {
		t.Fatalf("%q %v", got, err)
	}
}

// parrot answers every line with what follows its first word, | being CRLF.
func parrot(t *testing.T, _ map[string]string) Dialer {
	return func(string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			in := bufio.NewScanner(theirs)
			for in.Scan() {
				_, rest, _ := strings.Cut(in.Text(), " ")
				if rest == "quit" {
					return
				}
				fmt.Fprintf(theirs, "%s\r\n", strings.ReplaceAll(rest, "|", "\r\n"))
			}
		}()
		return ours, nil
	}
}

func TestDialogue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.dlg")
	script := "# the whole language\nset a=b\nC: a * x|a OK\nS* a OK\nC: b 250-a|250 b\nS! *c*\nC: c 250-a|250-b|250 d\nS! 250?c\nS: 250 d\n" +
		"connect\nREPEAT 3000 C: x yes\nREPEAT 3000 S: yes\nuse 1\nC: x again\nS: again\nB: x raw\\r\\n\nS: raw\nC: x quit\nEOF\n"
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, path, parrot)
}

func TestFailures(t *testing.T) {
	for script, want := range map[string]string{
		"# r\nC: a no\nS: yes\n":                    "x:3: expected yes\n\tgot      no",
		"# r\nC: a x|a OK\nS! x\n":                  "line 3 forbids x",
		"# r\nC: a x|a OK\nS! x\nS: a OK\n":         "x:4: line 3 forbids x",
		"# r\nC: a quit\nS: yes\n":                  "EOF",
		"# r\nC: a x\nEOF\n":                        "expected the end of the connection\n\tgot      x",
		"# r\nuse 3\n":                              "there is no connection 3",
		"# r\nB: a \\n\nS: *\nB: a x\\r\\n\nS: y\n": "expected y",
	} {
		s, err := parse("x", script)
		if err != nil {
			t.Fatal(err)
		}
		p := &player{t: t, script: s, dial: parrot(t, nil)}
		err = p.play()
		p.close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", script, err, want)
		}
	}
}

func TestBadScripts(t *testing.T) {
	for _, s := range []string{"C: a\n", "# r\nX: a\n", "# r\nset a\n", "# r\nREPEAT x C: a\n", "# r\nREPEAT 2 EOF\n", "# r\nB: \\q\n", "# r\nWAIT long\n"} {
		if _, err := parse("x", s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
