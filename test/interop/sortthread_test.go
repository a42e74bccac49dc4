package interop_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDovecotSortsAndThreadsAlike sends the same SORT and THREAD commands to
// both, over Maildirs of odd subjects, addresses and references. Dates are
// regular ones: where one cannot be read whole, RFC 5256 §2.2 wants UTC for
// the zone and 00:00:00 for the time, and Dovecot takes the internal date.
func TestDovecotSortsAndThreadsAlike(t *testing.T) {
	needRoot(t)
	d := newDuel(t)
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		ours, theirs := d.sortable(r, fmt.Sprintf("sort%d", seed), 8+r.IntN(40))
		for _, command := range append([]string{"SELECT INBOX"}, sorting...) {
			a, err := ours.Do(command)
			if err != nil {
				t.Fatal("imapd", err)
			}
			b, err := theirs.Do(command)
			if err != nil {
				t.Fatal("Dovecot", err)
			}
			if mine, his := strings.TrimSpace(a.Data[0].Line()), strings.TrimSpace(b.Data[0].Line()); command != "SELECT INBOX" && mine != his {
				t.Errorf("seed %d, %s:\nimapd   %s\nDovecot %s", seed, command, mine, his)
			}
		}
		ours.Close()
		theirs.Close()
	}
}

var sorting = []string{"SORT (ARRIVAL) UTF-8 ALL", "SORT (SIZE REVERSE DATE) UTF-8 ALL", "SORT (DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL",
	"SORT (FROM) UTF-8 ALL", "SORT (TO) UTF-8 ALL", "UID SORT (CC) UTF-8 ALL", "SORT (DISPLAYFROM) UTF-8 ALL", "SORT (DISPLAYTO) UTF-8 ALL",
	"SORT (REVERSE SUBJECT) UTF-8 ALL", "SORT (SUBJECT REVERSE DATE) UTF-8 UNSEEN", "THREAD REFERENCES UTF-8 ALL", "THREAD REFS UTF-8 ALL",
	"THREAD REFERENCES UTF-8 UNSEEN", "UID THREAD REFS UTF-8 FLAGGED"}

// sortable makes the same Maildir for both and logs in.
func (d *duel) sortable(r *rand.Rand, user string, n int) (ours, theirs *side) {
	d.t.Helper()
	if _, err := d.s.Mailctl("secret\n", "user", "add", user+"@example.test"); err != nil {
		d.t.Fatal(err)
	}
	mine := filepath.Join(filepath.Dir(filepath.Dir(d.s.Env["PEYK_MAILDIR1"])), user, "Maildir")
	other := filepath.Join(d.theirs, user, "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(mine, sub), 0o700); err != nil {
			d.t.Fatal(err)
		}
	}
	for i := range n {
		when := time.Unix(1_577_836_800+int64(r.IntN(30*86400)), 0)
		path := filepath.Join(mine, "cur", fmt.Sprintf("%d.M%dP1.host:2,%s", 1_577_836_800+i, i, []string{"", "S", "F", "FS"}[r.IntN(4)]))
		if err := os.WriteFile(path, []byte(sortableMessage(r, n)), 0o600); err != nil {
			d.t.Fatal(err)
		}
		os.Chtimes(path, when, when)
	}
	copyTree(d.t, mine, other)
	chownTree(d.t, filepath.Dir(other), owner)
	return d.login("imapd", d.s.Env["PEYK_IMAPS"], &tls.Config{InsecureSkipVerify: true}, user+"@example.test"), d.login("Dovecot", d.dovecot, nil, user)
}

func sortableMessage(r *rand.Rand, n int) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	id := func() string { return fmt.Sprintf("m%d@x", r.IntN(max(4, n/2))) }
	subject := pick("alpha", "Beta", "DELTA", "éclair", "Ärger", "سلام", "report 2020")
	for range r.IntN(3) {
		subject = pick("Re: ", "RE:", "Fwd: ", "fw: ", "[list] ", "[a][b] ", "re[2]: ", "Re [x]: ", "[fwd: ", "  ", "\t", "AW: ", "[]", "(fwd) ", "Re:\n ", "re :") + subject
	}
	subject += pick("", "", "", " (fwd)", "(FWD)", " ", "]", " [x]")
	if strings.ContainsAny(subject, "éÄس") {
		subject = "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(subject, "\n", ""))) + "?="
	}
	lines := []string{"Subject: " + subject,
		"From: " + pick("Ann <ann@a.example>", "bob@b.example", `"Zed, Q" <Zed@z.example>`, "=?utf-8?q?=C3=81gnes?= <agnes@x>", "grp: a@b, c@d;", "(comment) carl@c.example (Carl)", "", `"quoted local"@q.example`, "nobody"),
		"To: " + pick("undisclosed-recipients:;", "ann@a.example", "Bob <bob@b.example>, x@y", `"b@c" <zz@top>`, ""),
		fmt.Sprintf("Date: %d Jan 2020 %02d:%02d:%02d %s", 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), pick("+0000", "-0800", "+0530", "GMT", "EST", "+0130 (foo)"))}
	if r.IntN(2) == 0 {
		lines = append(lines, "Cc: "+pick("list@l.example", "Al <al@l.example>", ""))
	}
	if r.IntN(10) > 0 {
		lines = append(lines, "Message-ID: "+pick("<"+id()+">", "<"+id()+">", "<"+id()+">", "<bad>", "< "+id()+" >", id()))
	}
	if r.IntN(10) < 6 {
		refs := "References:"
		for range 1 + r.IntN(4) {
			refs += pick(" ", "\n ", " junk ", ",") + "<" + pick(id(), id(), fmt.Sprintf("gone%d@x", r.IntN(8))) + ">"
		}
		lines = append(lines, refs)
	}
	if r.IntN(3) == 0 {
		lines = append(lines, "In-Reply-To: "+pick("<"+id()+">", "Your message of <"+id()+">", "bad"))
	}
	r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return strings.Join(lines, "\n") + "\n\n" + strings.Repeat("x", r.IntN(50)) + "\n"
}
