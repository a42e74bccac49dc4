package imapd

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// client logs a foreign client in.
func client(t *testing.T, ts *testServer, o *imapclient.Options) *imapclient.Client {
	t.Helper()
	o.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	c, err := imapclient.DialStartTLS(ts.addresses["imap"], o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func appendMessage(t *testing.T, c *imapclient.Client, box, text string, o *imap.AppendOptions) *imap.AppendData {
	t.Helper()
	cmd := c.Append(box, int64(len(text)), o)
	if _, err := io.WriteString(cmd, text); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestForeignClient(t *testing.T) {
	c := client(t, startServer(t, nil), &imapclient.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Create("Archiv.Jahr 2026 ünï", nil).Wait())
	must(c.Create("Sent", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrSent}}).Wait())
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true}}).Collect()
	must(err)
	var names []string
	for _, b := range boxes {
		names = append(names, b.Mailbox)
		if b.Mailbox == "Sent" && (!slices.Contains(b.Attrs, imap.MailboxAttrSent) || b.Status == nil || *b.Status.NumMessages != 0) {
			t.Errorf("Sent is %+v", b)
		}
	}
	if !slices.Contains(names, "Archiv.Jahr 2026 ünï") {
		t.Errorf("mailboxes %q", names)
	}
	text := crlfLines("From: \"A \\\"B\\\"\" <a@b.example>", "Subject: =?utf-8?q?=C3=BC?= )(", "Content-Type: multipart/mixed; boundary=x", "",
		"--x", "Content-Type: text/plain", "", "hi", "--x", "Content-Type: application/pdf; name=\"a \\\"b\\\".pdf\"", "", "data", "--x--")
	date := time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)
	data := appendMessage(t, c, "INBOX", text, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Work"}, Time: date})
	sel, err := c.Select("INBOX", nil).Wait()
	must(err)
	if sel.NumMessages != 1 || sel.UIDValidity != data.UIDValidity || sel.UIDNext != data.UID+1 {
		t.Errorf("selected %+v after %+v", sel, data)
	}
	section := &imap.FetchItemBodySection{}
	part := &imap.FetchItemBodySection{Part: []int{2}, Partial: &imap.SectionPartial{Offset: 1, Size: 2}}
	got, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{section, part}}).Collect()
	must(err)
	m := got[0]
	if string(m.FindBodySection(section)) != text || m.RFC822Size != int64(len(text)) || string(m.FindBodySection(part)) != "at" {
		t.Errorf("body %q of %d, part %q", m.FindBodySection(section), m.RFC822Size, m.FindBodySection(part))
	}
	if m.Envelope.Subject != "ü )(" || m.Envelope.From[0].Name != `A "B"` || !m.InternalDate.Equal(date) {
		t.Errorf("envelope %+v at %v", m.Envelope, m.InternalDate)
	}
	structure := m.BodyStructure.(*imap.BodyStructureMultiPart)
	if structure.Children[1].(*imap.BodyStructureSinglePart).Params["name"] != `a "b".pdf` {
		t.Errorf("structure %+v", structure.Children[1])
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{"$Work"}, Text: []string{"HI"}}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	must(err)
	if found.Count != 1 || len(found.AllUIDs()) != 1 {
		t.Errorf("found %+v", found)
	}
	moved, err := c.Move(imap.UIDSetNum(data.UID), "Sent").Wait()
	must(err)
	if moved.DestUIDs.String() != "1" {
		t.Errorf("moved %+v", moved)
	}
	must(c.Logout().Wait())
}

func crlfLines(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

func TestIdleHearsOfADelivery(t *testing.T) {
	ts := startServer(t, nil)
	news := make(chan uint32, 10)
	c := client(t, ts, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				news <- *data.NumMessages
			}
		}}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	for n := uint32(1); n <= 3; n++ {
		start := time.Now()
		ts.deliver(t, "alice", "Subject: news\n\nhello\n")
		if got := <-news; got != n {
			t.Fatalf("EXISTS %d, want %d", got, n)
		}
		t.Logf("news after %v", time.Since(start).Round(time.Millisecond))
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestBytesComeBackAsTheyAre appends and delivers what mail can look like and
// fetches it whole and in pieces.
func TestBytesComeBackAsTheyAre(t *testing.T) {
	ts := startServer(t, nil)
	var large bytes.Buffer
	large.WriteString("Subject: large\n\n")
	for i := range 40_000 {
		large.WriteString(strings.Repeat("x", i%75))
		large.WriteString([]string{"\n", "\r\n", "\rx\n", "\n\n"}[i%4])
	}
	texts := []string{"\n", "x", "no colon\n\nbody", "Subject: nul \x00\n\n\x00\xff\n", "A: b\r\n\r\nc\r\rd\n", strings.Repeat("H: v\n", 100_000) + "\nbody\n",
		"Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\n", 20_000), large.String()}
	for _, text := range texts {
		ts.deliver(t, "alice", text)
	}
	c := client(t, ts, &imapclient.Options{})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{RFC822Size: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) != len(texts) {
		t.Fatalf("%d messages", len(messages))
	}
	for i, m := range messages {
		want := wire(texts[i])
		if got := string(m.FindBodySection(whole)); got != want || m.RFC822Size != int64(len(want)) {
			t.Errorf("message %d: %d octets, size %d, want %d", i, len(got), m.RFC822Size, len(want))
		}
	}
	// In pieces, forwards and then back.
	want := wire(texts[len(texts)-1])
	const step = 50_001
	for _, offset := range []int{0, step, 2 * step, 3 * step, step, 12 * step, 5, len(want) - 3} {
		piece := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: int64(offset), Size: step}}
		got, err := c.Fetch(imap.SeqSetNum(uint32(len(texts))), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{piece}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		if text := string(got[0].FindBodySection(piece)); text != want[offset:min(offset+step, len(want))] {
			t.Fatalf("piece at %d has %d octets and differs", offset, len(text))
		}
	}
}

// wire is text with each LF as CRLF.
func wire(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

// TestSilentClientOnTLSPort: core defect 3 of other servers, a handshake
// without a deadline.
func TestSilentClientOnTLSPort(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-login-timeout": "200ms"})
	conn, err := net.Dial("tcp", ts.addresses["imaps"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.ReadAll(conn) // ends, or the test does by its own limit
}

// TestForeignClientUsesExtensions drives what imapclient knows of extensions.
func TestForeignClientUsesExtensions(t *testing.T) {
	c := client(t, startServer(t, nil), &imapclient.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	on, err := c.Enable(imap.CapIMAP4rev2).Wait()
	must(err)
	if !on.Caps.Has(imap.CapIMAP4rev2) {
		t.Errorf("enabled %v", on.Caps)
	}
	for _, subject := range []string{"b", "a", "Re: b"} {
		appendMessage(t, c, "INBOX", crlfLines("Subject: "+subject, "From: a@b.example", "", "x"), nil)
	}
	sel, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	must(err)
	if sel.HighestModSeq == 0 || sel.List == nil || sel.List.Mailbox != "INBOX" {
		t.Errorf("selected %+v", sel)
	}
	found, err := c.Search(&imap.SearchCriteria{}, &imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnCount: true, ReturnSave: true}).Wait()
	must(err)
	if found.Min != 1 || found.Max != 3 || found.Count != 3 {
		t.Errorf("found %+v", found)
	}
	sorted, err := c.Sort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeySubject}}}).Wait()
	must(err)
	if !slices.Equal(sorted, []uint32{2, 1, 3}) {
		t.Errorf("sorted %v", sorted)
	}
	threads, err := c.UIDThread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	must(err)
	if len(threads) != 2 {
		t.Errorf("threads %+v", threads)
	}
	changed, err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, &imap.StoreOptions{UnchangedSince: sel.HighestModSeq}).Collect()
	must(err)
	if len(changed) != 1 || changed[0].ModSeq <= sel.HighestModSeq {
		t.Errorf("changed %+v after %d", changed, sel.HighestModSeq)
	}
	since, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Flags: true, UID: true, ChangedSince: sel.HighestModSeq}).Collect()
	must(err)
	if len(since) != 1 || since[0].UID != 1 {
		t.Errorf("since then %+v", since)
	}
	must(c.Unselect().Wait())
}

func TestForeignClientAdministers(t *testing.T) {
	c := client(t, startServer(t, nil), &imapclient.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Create("Work", nil).Wait())
	spaces, err := c.Namespace().Wait()
	must(err)
	if len(spaces.Personal) != 1 || spaces.Personal[0].Delim != '.' || len(spaces.Other) != 1 {
		t.Errorf("namespaces %+v", spaces)
	}
	must(c.SetACL("Work", "bob", imap.RightModificationReplace, imap.RightSet("lr")).Wait())
	acl, err := c.GetACL("Work").Wait()
	must(err)
	if got := string(acl.Rights["bob"]); got != "lr" {
		t.Errorf("rights %+v", acl)
	}
	mine, err := c.MyRights("Work").Wait()
	must(err)
	if !slices.Contains(mine.Rights, imap.RightAdminister) {
		t.Errorf("my rights %+v", mine)
	}
	text := []byte("blue")
	must(c.SetMetadata("Work", map[string]*[]byte{"/shared/comment": &text}).Wait())
	meta, err := c.GetMetadata("Work", []string{"/shared/comment"}, nil).Wait()
	must(err)
	if v := meta.Entries["/shared/comment"]; v == nil || string(*v) != "blue" {
		t.Errorf("metadata %+v", meta)
	}
	quota, err := c.GetQuotaRoot("Work").Wait()
	must(err)
	if len(quota) == 0 {
		t.Error("no quota root")
	}
	status, err := c.Status("Work", &imap.StatusOptions{NumMessages: true, NumDeleted: true, Size: true, HighestModSeq: true}).Wait()
	must(err)
	if status.NumMessages == nil || status.NumDeleted == nil || status.Size == nil {
		t.Errorf("status %+v", status)
	}
	id, err := c.ID(&imap.IDData{Name: "test"}).Wait()
	must(err)
	if id.Name != "Peyk" {
		t.Errorf("id %+v", id)
	}
	must(c.Unauthenticate().Wait())
	must(c.Login("alice", "secret").Wait())
}
