package imapd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// What costs the product of two lengths, or the square of one, has a bound
// below that of a line.
func TestBoundsOfOneCommand(t *testing.T) {
	words := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("w%d", i))
		}
		return strings.Join(all, " ")
	}
	patterns := func(n, octets int) string {
		return "(" + strings.TrimSuffix(strings.Repeat(strings.Repeat("x", octets)+" ", n), " ") + ")"
	}
	box := maildirOf(t, 1, func(int) string { return "\n" })
	for command, want := range map[string]string{
		"STORE 1 +FLAGS (" + words(maxFlags+1) + ")":                         "a BAD more than 500 flags",
		"STORE 1 +FLAGS " + words(maxFlags+1):                                "a BAD more than 500 flags",
		"STORE 1 +FLAGS (" + words(maxFlags) + ")":                           "a NO [LIMIT]",
		"APPEND INBOX (" + words(maxFlags+1) + ") {3+}\r\nx\r\n":             "a BAD more than 500 flags",
		`LIST "" ` + patterns(100, 10):                                       "a OK",
		`LIST "" ` + patterns(91, 11):                                        "a BAD patterns of more than 1000 octets",
		`LIST "r" ` + patterns(91, 10):                                       "a BAD patterns of more than 1000 octets",
		`LIST "" ` + strings.Repeat("*", 1001):                               "a BAD a pattern longer than",
		`LIST "` + strings.Repeat("r", 600) + `" ` + patterns(1, 401):        "a BAD patterns of more than 1000 octets",
		`LSUB "` + strings.Repeat("r", 600) + `" ` + patterns(1, 401)[1:402]: "a BAD patterns of more than 1000 octets",
	} {
		out, _ := converse(t, box, "s SELECT INBOX", "a "+command)
		if !bytes.Contains(out, []byte("\r\n"+want)) {
			t.Errorf("%.60s: %.300q, want %q", command, out[bytes.Index(out, []byte("s OK")):], want)
		}
	}
}
