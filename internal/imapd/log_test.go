package imapd

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
)

// Each key stands once on a line, and a folder that a client misspelled is no
// trouble of ours.
func TestLogOfASession(t *testing.T) {
	ts := startServer(t, nil)
	c := client(t, ts, &imapclient.Options{})
	for _, name := range []string{"nowhere", "a/b", "..", "x%y"} {
		if err := c.Create(name, nil).Wait(); (err == nil) != (name == "nowhere") {
			t.Errorf("CREATE %s: %v", name, err)
		}
		if _, err := c.Select("not "+name, nil).Wait(); err == nil {
			t.Errorf("SELECT of %q works", name)
		}
	}
	if err := c.Logout().Wait(); err != nil {
		t.Fatal(err)
	}
	for line := range ts.log.lines {
		if strings.Contains(line, "event=trouble") {
			t.Errorf("a client's mistake: %s", line)
		}
		if strings.Count(line, " user=") > 1 {
			t.Errorf("a key stands twice: %s", line)
		}
		if strings.Contains(line, "event=closed") {
			return
		}
	}
}
