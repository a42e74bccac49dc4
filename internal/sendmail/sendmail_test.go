package sendmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/header"
	"peyk/internal/spool"
	"peyk/internal/sysexits"
)

// machine is a directory with a configuration and a spool, and no daemon.
type machine struct {
	t       testing.TB
	control string
	queue   *spool.Queue
	n       byte
}

func newMachine(t testing.TB, settings map[string]string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, control: filepath.Join(dir, "control"), queue: spool.OpenQueue(filepath.Join(dir, "spool"), new(commit.Disk))}
	if err := m.queue.Make(); err != nil {
		t.Fatal(err)
	}
	m.write("hostname", "mail.example.test\n")
	m.write("spool", m.queue.Dir()+"\n")
	for name, value := range settings {
		m.write(name, value)
	}
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.control, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func now() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.FixedZone("", 12600)) }

// run runs sendmail as alice and returns its exit status and what it printed.
func (m *machine) run(stdin string, args ...string) (code int, stdout, stderr string) {
	return m.runFrom(strings.NewReader(stdin), args...)
}

func (m *machine) runFrom(stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	m.n++
	p := &program{
		Stdin: stdin, Stdout: &out, Stderr: &errOut, Control: m.control, UID: 1001, User: "alice", Gecos: "& Liddell,Room 5",
		Now: now, Rand: rand.NewChaCha8([32]byte{m.n}), Disk: new(commit.Disk),
	}
	code = p.main(args)
	return code, out.String(), errOut.String()
}

// taken is a message found in the drop.
type taken struct {
	e       *envelope.Envelope
	message string
}

func (m *machine) drop() []taken {
	m.t.Helper()
	var all []taken
	for e, err := range m.queue.List(spool.InDrop) {
		if err != nil || e.Err != nil {
			m.t.Fatal(err, e.Err)
		}
		msg, err := m.queue.Read(e.ID)
		if err != nil {
			m.t.Fatal(err)
		}
		b, err := io.ReadAll(msg.Reader())
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, taken{e.Envelope, string(b)})
		msg.Close()
		os.Remove(filepath.Join(m.queue.DropDir(), e.ID))
	}
	return all
}

// one runs sendmail, which must succeed, and returns the one message.
func (m *machine) one(stdin string, args ...string) taken {
	m.t.Helper()
	if code, out, errOut := m.run(stdin, args...); code != 0 || out != "" || errOut != "" {
		m.t.Fatalf("exit %d, %q, %q", code, out, errOut)
	}
	all := m.drop()
	if len(all) != 1 {
		m.t.Fatalf("%d messages", len(all))
	}
	return all[0]
}

// short is a message without the trace field and the id.
func (m taken) short() string {
	_, rest, _ := strings.Cut(m.message, "\r\n\tid ")
	_, rest, _ = strings.Cut(rest, "\r\n")
	return strings.ReplaceAll(strings.ReplaceAll(rest, m.e.ID, "ID"), "\r\n", "|")
}

func (m taken) to() string {
	var list []string
	for _, r := range m.e.Recipients {
		list = append(list, r.Address)
	}
	return strings.Join(list, " ")
}

const (
	id   = "Message-ID: <ID@mail.example.test>|"
	date = "Date: Sun, 22 Nov 2026 10:00:00 +0330|"
	from = "From: Alice Liddell <alice@example.test>|"
)

func TestMessages(t *testing.T) {
	m := newMachine(t, nil)
	m.write("domains/example.test/users", "")
	tests := []struct {
		name, args, stdin      string
		sender, to, body, want string
	}{
		{"plain", "bob@b.test", "Subject: hi\n\nhello\n", "alice@example.test", "bob@b.test", "", id + date + from + "Subject: hi||hello|"},
		{"local name", "bob", "Subject: hi\n\nx\n", "alice@example.test", "bob@example.test", "", id + date + from + "Subject: hi||x|"},
		{"several", "b@b.test,c@c.test d@d.test b@b.test", "\nx\n", "alice@example.test", "b@b.test c@c.test d@d.test", "", id + date + from + "|x|"},
		{"nothing missing", "b@b.test", "From: x@y.test\nDate: now\nMessage-Id: <1@x>\n\nx\n", "alice@example.test", "b@b.test", "", "From: x@y.test|Date: now|Message-Id: <1@x>||x|"},
		{"no header", "b@b.test", "hello world\nbye: now\n\nend\n", "alice@example.test", "b@b.test", "", id + date + from + "|hello world|bye: now||end|"},
		{"header only", "b@b.test", "Subject: x", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x||"},
		{"header without blank line", "b@b.test", "Subject: x\nno field\nmore\n", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x||no field|more|"},
		{"empty", "b@b.test", "", "alice@example.test", "b@b.test", "", id + date + from + "|"},
		{"mbox line", "b@b.test", "From a@b Sat Nov 21\nSubject: x\n\ny\n", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x||y|"},
		{"folded", "b@b.test", "Subject: x\n\ty\n\nz\n", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x|\ty||z|"},
		{"CRLF", "b@b.test", "Subject: x\r\n\r\ny\r\n", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x||y|"},
		{"no end of line", "b@b.test", "Subject: x\n\ny", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x||y|"},
		{"bare CR in the header", "b@b.test", "Subject: x\rBcc: evil@x.test\n\ny\n", "alice@example.test", "b@b.test", "", id + date + from + "Subject: x Bcc: evil@x.test||y|"},
		{"bare CR in the body", "b@b.test", "S: x\n\na\rb\r\r\nc\x00d\r", "alice@example.test", "b@b.test", "", id + date + from + "S: x||a|b|cd|"},
		{"dot ends", "b@b.test", "S: x\n\na\n.\nb\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||a|"},
		{"dot CRLF ends", "b@b.test", "S: x\r\n\r\na\r\n.\r\nb\r\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||a|"},
		{"dot at the end", "b@b.test", "S: x\n\na\n.", "alice@example.test", "b@b.test", "", id + date + from + "S: x||a|"},
		{"-i", "-i b@b.test", "S: x\n\na\n.\n..b\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||a|.|..b|"},
		{"-oi", "-oi b@b.test", "S: x\n\n.\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||.|"},
		{"dots in lines", "b@b.test", "S: x\n\n..\n.b\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||..|.b|"},
		{"-t", "-t", "To: b@b.test\nCc: c@c.test\nBcc: d@d.test\n\nx\n", "alice@example.test", "b@b.test c@c.test d@d.test", "", id + date + from + "To: b@b.test|Cc: c@c.test||x|"},
		{"-t and arguments", "-t e@e.test", "To: b@b.test\n\nx\n", "alice@example.test", "e@e.test b@b.test", "", id + date + from + "To: b@b.test||x|"},
		{"-ti", "-ti", "To: b@b.test\n\n.\n", "alice@example.test", "b@b.test", "", id + date + from + "To: b@b.test||.|"},
		{"-t folded group", "-t", "To: \"A, B\" <b@b.test>,\n friends: c@c.test (him, her), <d@d.test>;\n\nx\n", "alice@example.test", "b@b.test c@c.test d@d.test", "", id + date + from + "To: \"A, B\" <b@b.test>,| friends: c@c.test (him, her), <d@d.test>;||x|"},
		{"-t resent", "-t", "Resent-To: r@r.test\nTo: b@b.test\nResent-Bcc: s@s.test\n\nx\n", "alice@example.test", "r@r.test s@s.test", "", id + date + from + "Resent-To: r@r.test|To: b@b.test||x|"},
		{"-t undisclosed", "-t b@b.test", "To: undisclosed-recipients:;\n\nx\n", "alice@example.test", "b@b.test", "", id + date + from + "To: undisclosed-recipients:;||x|"},
		{"-f", "-f x@y.test b@b.test", "S: x\n\ny\n", "x@y.test", "b@b.test", "", id + date + "From: x@y.test|S: x||y|"},
		{"-fattached", "-fx@y.test b@b.test", "S: x\n\ny\n", "x@y.test", "b@b.test", "", id + date + "From: x@y.test|S: x||y|"},
		{"-r", "-r x b@b.test", "S: x\n\ny\n", "x@example.test", "b@b.test", "", id + date + "From: x@example.test|S: x||y|"},
		{"-f null", "-f <> b@b.test", "From: d@d.test\n\ny\n", "", "b@b.test", "", id + date + "From: d@d.test||y|"},
		{"-F", "-FJoe b@b.test", "S: x\n\ny\n", "alice@example.test", "b@b.test", "", id + date + "From: Joe <alice@example.test>|S: x||y|"},
		{"-F with injection", "-FJoe\r\nBcc:\u00a0evil@x.test b@b.test", "S: x\n\ny\n", "alice@example.test", "b@b.test", "", id + date + "From: =?utf-8?q?Joe__Bcc:=C2=A0evil@x.test?= <alice@example.test>|S: x||y|"},
		{"-F with quotes", `-FJ."D\ b@b.test`, "S: x\n\ny\n", "alice@example.test", "b@b.test", "", id + date + `From: "J.\"D\\" <alice@example.test>|S: x||y|`},
		{"8-bit body", "b@b.test", "S: x\n\n\xe9\n", "alice@example.test", "b@b.test", "8BITMIME", id + date + from + "S: x||\xe9|"},
		{"8-bit header", "b@b.test", "S: \xe9\n\nx\n", "alice@example.test", "b@b.test", "8BITMIME", id + date + from + "S: \xe9||x|"},
		{"-B", "-B8bitmime b@b.test", "S: x\n\nx\n", "alice@example.test", "b@b.test", "8BITMIME", id + date + from + "S: x||x|"},
		{"old options", "-oem -odb -om -oee -O DeliveryMode=b -em -G -n -U -h 5 -L tag -X /dev/null -p SMTP:x -d0.1 b@b.test", "S: x\n\nx\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||x|"},
		{"after --", "-- -b@b.test", "S: x\n\nx\n", "alice@example.test", "-b@b.test", "", id + date + from + "S: x||x|"},
		{"Return-Path goes", "b@b.test", "Return-Path: <x@y>\nS: x\n\nx\n", "alice@example.test", "b@b.test", "", id + date + from + "S: x||x|"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.t = t
			args := append([]string{"/usr/sbin/sendmail"}, strings.Split(tt.args, " ")...)
			got := m.one(tt.stdin, args...)
			if got.e.Sender != tt.sender || got.to() != tt.to || got.e.Body != tt.body || got.e.SMTPUTF8 {
				t.Errorf("%+v", got.e)
			}
			if diff := cmp.Diff(tt.want, got.short()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTraceField(t *testing.T) {
	m := newMachine(t, nil)
	got := m.one("\n", "sendmail", "b@b.test")
	want := fmt.Sprintf("Received: by mail.example.test (Peyk, from userid 1001)\r\n\tid %s; Sun, 22 Nov 2026 10:00:00 +0330\r\n", got.e.ID)
	if !strings.HasPrefix(got.message, want) {
		t.Errorf("%q", got.message)
	}
	if got.e.Client.Login != "alice" {
		t.Errorf("%+v", got.e.Client)
	}
}

func TestReportOptions(t *testing.T) {
	m := newMachine(t, nil)
	got := m.one("\n", "sendmail", "-N", "success,failure", "-R", "hdrs", "-V", "Q 1", "b@b.test")
	if strings.Join(got.e.Recipients[0].Notify, " ") != "SUCCESS FAILURE" || got.e.Ret != "HDRS" || got.e.EnvID != "Q 1" {
		t.Errorf("%+v", got.e)
	}
	got = m.one("\n", "sendmail", "-Nnever", "b@b.test")
	if strings.Join(got.e.Recipients[0].Notify, " ") != "NEVER" {
		t.Errorf("%+v", got.e)
	}
}

func TestInternationalAddress(t *testing.T) {
	m := newMachine(t, nil)
	if got := m.one("\n", "sendmail", "سارا@b.test"); !got.e.SMTPUTF8 || got.to() != "سارا@b.test" {
		t.Errorf("%+v", got.e)
	}
}

func TestMistakes(t *testing.T) {
	m := newMachine(t, map[string]string{"message-size-limit": "2000", "hop-limit": "3"})
	tests := []struct {
		args, stdin string
		code        int
		says        string
	}{
		{"", "x\n", sysexits.Usage, "no recipient"},
		{"-t", "Subject: x\n\ny\n", sysexits.Usage, "no recipient"},
		{"-y b@b.test", "x\n", sysexits.Usage, "no option -y"},
		{"b@b.test -f", "x\n", sysexits.Usage, "address"},
		{"-f", "x\n", sysexits.Usage, "needs an argument"},
		{"-f a@b.test,c@d.test b@b.test", "x\n", sysexits.Usage, "one address"},
		{"-bd", "x\n", sysexits.Usage, "no daemon"},
		{"-bz", "x\n", sysexits.Usage, "no mode"},
		{"-q30m", "x\n", sysexits.Usage, "retry"},
		{"-N sometimes b@b.test", "x\n", sysexits.Usage, "-N"},
		{"-R some b@b.test", "x\n", sysexits.Usage, "-R"},
		{"-V a\tb b@b.test", "x\n", sysexits.Usage, "-V"},
		{"-B BINARYMIME b@b.test", "x\n", sysexits.Usage, "-B"},
		{"a@@b.test", "x\n", sysexits.Usage, "address"},
		{"b@b.test>\r\nRCPT", "x\n", sysexits.Usage, "address"},
		{"-t", "To: a..b@c.test\n\nx\n", sysexits.DataErr, "address"},
		{"-t", "To: John Smith\n\nx\n", sysexits.DataErr, "address"},
		{"b@b.test", strings.Repeat("x", 3000), sysexits.DataErr, "larger than 2000"},
		{"b@b.test", strings.Repeat("Received: x\n", 4) + "\nx\n", sysexits.Unavailable, "loop"},
		{"b@b.test", strings.Repeat("X: y\n", 300000) + "\nx\n", sysexits.DataErr, "header is too large"},
		{"-C /nowhere b@b.test", "x\n", sysexits.Config, "configuration"},
	}
	for _, tt := range tests {
		t.Run(tt.args+tt.says, func(t *testing.T) {
			args := []string{"sendmail"}
			if tt.args != "" {
				args = append(args, strings.Split(tt.args, " ")...)
			}
			code, out, errOut := m.run(tt.stdin, args...)
			if code != tt.code || out != "" || !strings.Contains(errOut, tt.says) || !strings.HasPrefix(errOut, "sendmail: ") {
				t.Errorf("exit %d, %q", code, errOut)
			}
			if left := m.drop(); len(left) > 0 {
				t.Errorf("queued all the same: %+v", left)
			}
		})
	}
	tmp, err := os.ReadDir(filepath.Join(m.queue.Dir(), "drop/tmp"))
	if err != nil || len(tmp) > 0 {
		t.Errorf("left in drop/tmp: %v %v", tmp, err)
	}
}

func TestNoSpoolIsTemporary(t *testing.T) {
	m := newMachine(t, map[string]string{"spool": "/nonexistent/spool"})
	if code, _, errOut := m.run("x\n", "sendmail", "b@b.test"); code != sysexits.TempFail || !strings.Contains(errOut, "cannot queue mail") {
		t.Errorf("%d %q", code, errOut)
	}
}

func TestBrokenInputQueuesNothing(t *testing.T) {
	m := newMachine(t, nil)
	stdin := io.MultiReader(strings.NewReader("S: x\n\n"+strings.Repeat("half\n", 100000)), errReader{})
	if code, _, _ := m.runFrom(stdin, "sendmail", "b@b.test"); code != sysexits.TempFail {
		t.Errorf("exit %d", code)
	}
	if left := m.drop(); len(left) > 0 {
		t.Errorf("%d messages", len(left))
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("pipe broke") }

func TestLargeMessage(t *testing.T) {
	m := newMachine(t, nil)
	line := strings.Repeat("x", 99) + "\n"
	got := m.one("S: x\n\n"+strings.Repeat(line, 30000), "sendmail", "b@b.test")
	if n := int64(len(got.message)); n != got.e.Size || strings.Count(got.message, "\r\n") != 30000+7 {
		t.Errorf("%d octets, %d in the envelope", n, got.e.Size)
	}
}

func TestVerbose(t *testing.T) {
	m := newMachine(t, nil)
	code, out, errOut := m.run("\n", "sendmail", "-v", "b@b.test")
	all := m.drop()
	if code != 0 || out != "" || len(all) != 1 || errOut != "sendmail: queued as "+all[0].e.ID+"\n" {
		t.Errorf("%d %q %q", code, out, errOut)
	}
}

func TestMailq(t *testing.T) {
	m := newMachine(t, nil)
	code, out, _ := m.run("", "/usr/bin/mailq")
	if code != 0 || out != "Mail queue is empty\n" {
		t.Fatalf("%d %q", code, out)
	}
	if code, _, errOut := m.run("S: x\n\ny\n", "sendmail", "-f", "<>", "b@b.test", "c@c.test"); code != 0 {
		t.Fatal(errOut)
	}
	code, out, _ = m.run("", "sendmail", "-bp")
	lines := strings.Split(out, "\n")
	if code != 0 || len(lines) < 5 || !strings.HasPrefix(lines[0], "-Queue ID-") || !strings.Contains(lines[1], "MAILER-DAEMON") ||
		strings.TrimSpace(lines[2]) != "b@b.test" || strings.TrimSpace(lines[3]) != "c@c.test" || lines[5] != "-- 1 Kbytes in 1 Request." {
		t.Errorf("%d %s", code, out)
	}
}

func TestFlush(t *testing.T) {
	m := newMachine(t, nil)
	for _, arg := range []string{"-q", "-qRexample"} {
		if code, _, errOut := m.run("", "sendmail", arg); code != 0 {
			t.Fatal(errOut)
		}
		if !m.queue.TakeFlush("flush") {
			t.Errorf("%s: queue-run would not notice", arg)
		}
	}
}

func TestNewaliases(t *testing.T) {
	m := newMachine(t, nil)
	m.write("domains/example.test/users", "")
	m.write("domains/example.test/aliases", "root: alice\n")
	if code, _, errOut := m.run("", "newaliases"); code != 0 || errOut != "" {
		t.Errorf("%d %q", code, errOut)
	}
	m.write("domains/example.test/aliases", "root alice\n")
	if code, _, errOut := m.run("", "sendmail", "-bi"); code != sysexits.Config || !strings.Contains(errOut, "aliases:1:") {
		t.Errorf("%d %q", code, errOut)
	}
}

func TestVersion(t *testing.T) {
	m := newMachine(t, nil)
	if code, out, _ := m.run("", "sendmail", "--version"); code != 0 || !strings.Contains(out, "(Peyk)") {
		t.Errorf("%d %q", code, out)
	}
}

func TestSMTPOnStdin(t *testing.T) {
	m := newMachine(t, nil)
	code, out, _ := m.run("EHLO x\r\nMAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n"+
		"S: x\r\n\r\n..\r\ny\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@c.test>\r\nDATA\r\n.\r\nQUIT\r\nNOOP\r\n", "sendmail", "-bs")
	if code != 0 || strings.Contains(out, "\r\n5") || strings.Count(out, "queued as") != 2 || !strings.HasSuffix(out, "221 2.0.0 bye\r\n") {
		t.Fatalf("%d %s", code, out)
	}
	all := m.drop()
	if len(all) != 2 || all[0].e.Sender != "a@b.test" || all[0].to() != "b@b.test postmaster@mail.example.test" || all[1].e.Sender != "" {
		t.Fatalf("%+v", all)
	}
	if got := all[0].short(); got != id+date+"From: a@b.test|S: x||.|y|" {
		t.Error(got)
	}
}

func TestSMTPRefusals(t *testing.T) {
	m := newMachine(t, map[string]string{"message-size-limit": "100"})
	begin := "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@b.test>\r\n"
	for name, tt := range map[string]struct{ in, want string }{
		"MAIL before EHLO":     {"MAIL FROM:<>\r\n", "503 5.5.1"},
		"MAIL twice":           {begin + "MAIL FROM:<>\r\n", "503 5.5.1"},
		"RCPT before MAIL":     {"EHLO x\r\nRCPT TO:<b@b.test>\r\n", "503 5.5.1"},
		"DATA without RCPT":    {"EHLO x\r\nMAIL FROM:<>\r\nDATA\r\n", "503 5.5.1"},
		"unknown":              {"EHLO x\r\nFROB\r\n", "500 5.5.2"},
		"unknown parameter":    {"EHLO x\r\nMAIL FROM:<> FOO=1\r\n", "555 5.5.4"},
		"bad SIZE":             {"EHLO x\r\nMAIL FROM:<> SIZE=x\r\n", "501 5.5.4"},
		"big SIZE":             {"EHLO x\r\nMAIL FROM:<> SIZE=101\r\n", "552 5.3.4"},
		"no brackets":          {"EHLO x\r\nMAIL FROM:a@b.test\r\n", "501 5.5.4"},
		"bad sender":           {"EHLO x\r\nMAIL FROM:<a..b@b.test>\r\n", "501 5.1.3"},
		"null recipient":       {"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\n", "501 5.1.3"},
		"too large":            {begin + "DATA\r\n" + strings.Repeat("x", 200) + "\r\n.\r\n", "552 5.3.4"},
		"bare LF":              {begin + "DATA\r\na\nb\r\n.\r\n", "550 5.6.11"},
		"bare CR":              {begin + "DATA\r\na\rb\r\n.\r\n", "550 5.6.11"},
		"smuggled end LF.LF":   {begin + "DATA\r\na\n.\nMAIL FROM:<x@y.test>\r\n.\r\n", "550 5.6.11"},
		"smuggled end LF.CRLF": {begin + "DATA\r\na\n.\r\nMAIL FROM:<x@y.test>\r\n.\r\n", "550 5.6.11"},
		"smuggled end CRLF.LF": {begin + "DATA\r\na\r\n.\nMAIL FROM:<x@y.test>\r\n.\r\n", "550 5.6.11"},
		"smuggled end CRCRLF":  {begin + "DATA\r\na\r\r\n.\r\r\nMAIL FROM:<x@y.test>\r\n.\r\n", "550 5.6.11"},
		"endless line":         {strings.Repeat("x", 10000), "500 5.5.2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, out, _ := m.run(tt.in+"QUIT\r\n", "sendmail", "-bs")
			lines := strings.Split(strings.TrimSuffix(out, "\r\n"), "\r\n")
			last := lines[len(lines)-1]
			if strings.HasPrefix(last, "221") {
				last = lines[len(lines)-2]
			}
			if !strings.HasPrefix(last, tt.want) {
				t.Errorf("%q", out)
			}
			if left := m.drop(); len(left) > 0 {
				t.Errorf("%+v", left)
			}
		})
	}
}

func TestSMTPFromAScript(t *testing.T) {
	m := newMachine(t, nil)
	_, out, _ := m.run("EHLO x\nMAIL FROM:<a@b.test>\nRCPT TO:<b@b.test>\nDATA\nS: x\n\ny\n.\nQUIT\n", "sendmail", "-bs")
	if all := m.drop(); len(all) != 1 || !strings.HasSuffix(all[0].short(), "|S: x||y|") {
		t.Errorf("%s", out)
	}
}

func TestSMTPCutMessageIsNotQueued(t *testing.T) {
	m := newMachine(t, nil)
	m.run("EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nS: x\r\n\r\nhalf", "sendmail", "-bs")
	if left := m.drop(); len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

func TestMailboxes(t *testing.T) {
	for list, want := range map[string]string{
		"a@b.test":                             "a@b.test",
		"a":                                    "a@d.test",
		" A B <a@b.test> , c@d.test;":          "a@b.test c@d.test",
		`"x, y" <a@b.test>`:                    "a@b.test",
		`"a b"@c.test`:                         `"a b"@c.test`,
		`<"a>b"@c.test>`:                       `"a>b"@c.test`,
		"a@b.test (comment (nested, too) \\))": "a@b.test",
		"a @ b . test":                         "a@b.test",
		"g:;":                                  "",
		"g: a@b.test, c@d.test; e@f.test":      "a@b.test c@d.test e@f.test",
		"<@x.test,@y.test:a@b.test>":           "a@b.test",
		"a@[192.0.2.1], b@[IPv6:2001:db8::1]":  "a@[192.0.2.1] b@[ipv6:2001:db8::1]",
		",,":                                   "",
		"<>":                                   "",
		"a b@c.test":                           "error",
		"a@b@c":                                "error",
		"a@b.test <c@d.test":                   "c@d.test",
		"\"unclosed@x":                         "error",
	} {
		got, err := mailboxes(list, "d.test")
		var words []string
		for _, a := range got {
			words = append(words, a.String())
		}
		text := strings.Join(words, " ")
		if err != nil {
			text = "error"
		}
		if text != want && !strings.EqualFold(text, want) {
			t.Errorf("%s: %s %v, want %s", list, text, err, want)
		}
	}
}

// FuzzMessage: whatever the input, what is queued has only CRLF line ends, no
// NUL, no Bcc, and a header of which the first field is ours; the recipients
// are those of the command line.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"Subject: x\n\ny\n", "a\rb", "Bcc: x@y\r\r\n\r\n.\n", ":\n\n", "From x\nA: b\n c\nd\n", "\x00\n\n"} {
		f.Add(s, true, "Name")
	}
	m := newMachine(f, nil)
	f.Fuzz(func(t *testing.T, in string, dots bool, name string) {
		m.t = t
		args := []string{"sendmail", "-F", name, "b@b.test"}
		if dots {
			args = []string{"sendmail", "-i", "-F", name, "b@b.test"}
		}
		if code, _, errOut := m.run(in, args...); code != 0 {
			if len(in) < 1000 {
				t.Fatal(errOut)
			}
			return
		}
		all := m.drop()
		if len(all) != 1 || all[0].to() != "b@b.test" {
			t.Fatalf("%+v", all)
		}
		msg := all[0].message
		if strings.ContainsAny(strings.ReplaceAll(msg, "\r\n", ""), "\r\n\x00") || !strings.HasSuffix(msg, "\r\n") {
			t.Fatalf("%q", msg)
		}
		h, _ := header.Scan([]byte(msg))
		if h.Count("Bcc") != 0 || !h.Complete() || !h.Fields()[0].Is("Received") || h.Count("Date") == 0 || h.Count("From") == 0 {
			t.Fatalf("%q", msg)
		}
	})
}

// FuzzCommandLine: parsing never panics, and never takes an option for a
// recipient unless "--" or a recipient came before.
func FuzzCommandLine(f *testing.F) {
	f.Add("-t -i", "-fx@y", "z@z")
	f.Add("-bs", "--", "-x")
	f.Add("-q", "-N", "never")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		cmd, err := parse([]string{"sendmail", a, b, c})
		if err != nil {
			return
		}
		if len(cmd.recipients) == 3 && len(a) > 1 && a[0] == '-' {
			t.Fatalf("%q %q %q: %+v", a, b, c, cmd)
		}
	})
}

// FuzzMailboxes: every address that comes out reads back as itself.
func FuzzMailboxes(f *testing.F) {
	for _, s := range []string{"a@b, c <d@e>", `"x\"y" <a@b>`, "g:a@b;", "(c) a@b", "<@x:a@b>", "[", "a@[1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := mailboxes(s, "d.test")
		if err != nil {
			return
		}
		for _, a := range list {
			again, err := mailboxes(a.String(), "d.test")
			if err != nil || len(again) != 1 || again[0] != a {
				t.Fatalf("%q gave %q, which gave %v %v", s, a, again, err)
			}
		}
	})
}
