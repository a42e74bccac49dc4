package imapd

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rev2Commands are those of RFC 9051 §6, and where each may be given.
var rev2Commands = map[string]states{
	"CAPABILITY": anytime, "NOOP": anytime, "LOGOUT": anytime, // §6.1
	"STARTTLS": before, "AUTHENTICATE": before, "LOGIN": before, // §6.2
	"ENABLE": loggedIn, "SELECT": loggedIn, "EXAMINE": loggedIn, "CREATE": loggedIn, "DELETE": loggedIn, "RENAME": loggedIn, // §6.3
	"SUBSCRIBE": loggedIn, "UNSUBSCRIBE": loggedIn, "LIST": loggedIn, "NAMESPACE": loggedIn, "STATUS": loggedIn, "APPEND": loggedIn, "IDLE": loggedIn,
	"CLOSE": inside, "UNSELECT": inside, "EXPUNGE": inside, "SEARCH": inside, "FETCH": inside, "STORE": inside, "COPY": inside, "MOVE": inside, // §6.4
	"UID COPY": inside, "UID MOVE": inside, "UID FETCH": inside, "UID STORE": inside, "UID EXPUNGE": inside, "UID SEARCH": inside,
}

func TestIMAP4rev2HasItsCommands(t *testing.T) {
	for name, in := range rev2Commands {
		c, ok := find(name)
		if !ok || c.in != in {
			t.Errorf("%s: known %v, in states %b, want %b", name, ok, c.in, in)
		}
	}
}

// rev2Codes are the response codes of RFC 9051 §7.1, each with what in the
// source sends it, or, after an exclamation mark, why nothing does.
var rev2Codes = map[string]string{
	"ALREADYEXISTS":        "imap.ResponseCodeAlreadyExists",
	"APPENDUID":            `"APPENDUID `,
	"AUTHENTICATIONFAILED": "imap.ResponseCodeAuthenticationFailed",
	"AUTHORIZATIONFAILED":  "!authd decides about name and authorization at once",
	"BADCHARSET":           `"BADCHARSET (US-ASCII UTF-8)"`,
	"CANNOT":               "imap.ResponseCodeCannot",
	"CAPABILITY":           `[CAPABILITY `,
	"CLIENTBUG":            "!BAD says what is wrong, and where",
	"CLOSED":               "[CLOSED]",
	"CONTACTADMIN":         "!nothing needs an administrator and a human's eyes",
	"COPYUID":              `"COPYUID `,
	"CORRUPTION":           "!a Maildir that cannot be read is UNAVAILABLE or SERVERBUG",
	"EXPIRED":              "!passwords do not expire here",
	"EXPUNGEISSUED":        `"EXPUNGEISSUED"`,
	"HASCHILDREN":          "!a mailbox with children can be deleted; they stay",
	"INUSE":                "imap.ResponseCodeInUse",
	"LIMIT":                "imap.ResponseCodeLimit",
	"NONEXISTENT":          "imap.ResponseCodeNonExistent",
	"NOPERM":               "imap.ResponseCodeNoPerm",
	"NOTSAVED":             "codeNotSaved",
	"OVERQUOTA":            "imap.ResponseCodeOverQuota",
	"PARSE":                "!what cannot be parsed is shown as text",
	"PERMANENTFLAGS":       "[PERMANENTFLAGS (",
	"PRIVACYREQUIRED":      "imap.ResponseCodePrivacyRequired",
	"READ-ONLY":            `"READ-ONLY"`,
	"READ-WRITE":           `"READ-WRITE"`,
	"SERVERBUG":            "imap.ResponseCodeServerBug",
	"TRYCREATE":            "imap.ResponseCodeTryCreate",
	"UIDNEXT":              "[UIDNEXT ",
	"UIDNOTSTICKY":         "!all UIDs are sticky",
	"UIDVALIDITY":          "[UIDVALIDITY ",
	"UNAVAILABLE":          "imap.ResponseCodeUnavailable",
	"UNKNOWN-CTE":          "UNKNOWN-CTE",
}

func TestIMAP4rev2HasItsResponseCodes(t *testing.T) {
	source := sourceText(t)
	for code, sent := range rev2Codes {
		if why, unused := strings.CutPrefix(sent, "!"); unused {
			if why == "" || strings.Contains(source, `"`+code) || strings.Contains(source, "["+code) {
				t.Errorf("%s is said not to be sent: %s", code, why)
			}
		} else if !strings.Contains(source, sent) {
			t.Errorf("nothing sends %s: there is no %s", code, sent)
		}
	}
}

// sourceText is the source of this package without its tests.
func sourceText(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestIMAP4rev2HasNoRecent delivers messages, which are \Recent in IMAP4rev1,
// before SELECT, while selected and before ENABLE.
func TestIMAP4rev2HasNoRecent(t *testing.T) {
	for _, late := range []bool{false, true} {
		ts := startServer(t, nil)
		ts.deliver(t, "alice", "Subject: 1\n\nx\n")
		conn, err := ts.dial("preauth")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		lines := bufio.NewScanner(conn)
		command := func(line string) string {
			t.Helper()
			if _, err := conn.Write([]byte("a " + line + "\r\n")); err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for lines.Scan() {
				all.WriteString(lines.Text() + "\n")
				if strings.HasPrefix(lines.Text(), "a ") {
					return all.String()
				}
			}
			t.Fatalf("%s: the connection ended after %q", line, all.String())
			return ""
		}
		if late {
			if got := command("SELECT INBOX"); !strings.Contains(got, "* 1 RECENT") {
				t.Errorf("IMAP4rev1: %s", got)
			}
		}
		commands := []string{"ENABLE IMAP4rev2", "SELECT INBOX", "FETCH 1:* FLAGS", "NOOP", "FETCH 1:* FLAGS", "STORE 1:* +FLAGS (\\Seen)", "SEARCH ALL"}
		if late {
			commands = append(commands[:1], commands[2:]...)
		}
		for i, line := range commands {
			got := command(line)
			if strings.Contains(strings.ToUpper(got), "RECENT") || !strings.Contains(got, "\na OK") && !strings.HasPrefix(got, "a OK") {
				t.Errorf("%s: %s", line, got)
			}
			if i == 2 {
				ts.deliver(t, "alice", "Subject: 2\n\nx\n")
			}
		}
	}
}

// manCapabilities reads the list in STANDARDS of imapd(8).
func manCapabilities(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "man", "imapd.8"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\nThe capabilities are\n")
	list, _, ok2 := strings.Cut(rest, ".\n")
	if !ok || !ok2 {
		t.Fatal("man/imapd.8 has no list of capabilities")
	}
	return strings.Fields(strings.NewReplacer(",", " ", " and ", " ", "\nand ", " ").Replace(list))
}

// TestManualListsTheCapabilities asks for them in all states.
func TestManualListsTheCapabilities(t *testing.T) {
	sent := make(map[string]bool)
	ask := func(ts *testServer, service, login string) {
		t.Helper()
		conn, err := ts.dial(service)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("a CAPABILITY\r\n" + login + "c CAPABILITY\r\nd LOGOUT\r\n")); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			caps, ok := strings.CutPrefix(lines.Text(), "* CAPABILITY ")
			if !ok {
				continue
			}
			for _, c := range strings.Fields(caps) {
				if strings.HasPrefix(c, "APPENDLIMIT=") {
					c = "APPENDLIMIT"
				}
				sent[c] = true
			}
		}
	}
	ts := startServer(t, map[string]string{"imap-admins": "alice"})
	ask(ts, "imap", "")
	ask(ts, "imaps", "b LOGIN alice secret\r\n")
	ask(ts, "preauth", "")
	listed := manCapabilities(t)
	if !slices.IsSorted(listed) {
		t.Errorf("not in order: %q", listed)
	}
	if want := slices.Sorted(maps.Keys(sent)); !slices.Equal(listed, want) {
		t.Errorf("man/imapd.8 has  %q\nimapd can send   %q", listed, want)
	}
}
