package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func full() *Envelope {
	return &Envelope{
		ID:     "06dzs3nyd0abcdefghjkmnpqrstvwx0",
		Client: Client{Addr: "2001:db8::7", Name: "mx.example.net", Helo: "hello +=\r\n\x00world", Proto: "ESMTPS", Login: "álice"},
		Sender: `"a> \"b\\"@example.net`, Body: "8BITMIME", SMTPUTF8: true, RequireTLS: true, Ret: "HDRS", EnvID: "Q 1+=",
		Size: 48213, Sum: 0x8d3c17aa,
		Recipients: []Recipient{
			{Address: "b@example.org", Notify: []string{"FAILURE", "DELAY"}, ORcpt: "rfc822;b+x@example.org"},
			{Address: "جعفر@example.org", Notify: []string{"NEVER"}},
			{Address: "postmaster"},
		},
	}
}

func TestAppendIsBatchSMTP(t *testing.T) {
	got := string(full().Append(nil))
	want := strings.Join([]string{
		`XFORWARD IDENT=06dzs3nyd0abcdefghjkmnpqrstvwx0`,
		`XCLIENT ADDR=IPV6:2001:db8::7 NAME=mx.example.net HELO=hello+20+2B+3D+0D+0A+00world PROTO=ESMTPS LOGIN=+C3+A1lice`,
		`MAIL FROM:<"a> \"b\\"@example.net> SIZE=000000000048213 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=Q+201+2B+3D`,
		`RCPT TO:<b@example.org> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Bx@example.org`,
		`RCPT TO:<جعفر@example.org> NOTIFY=NEVER`,
		`RCPT TO:<postmaster>`,
		`NOOP crc32=5810b9a9/8d3c17aa`,
		`BDAT 000000000048213 LAST`, ""}, "\r\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReadStopsBeforeTheMessage(t *testing.T) {
	head := full().Append(nil)
	for _, size := range []int{16, 64, 4096} {
		r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), strings.NewReader("BDAT 1\r\nmessage")), size)
		e, n, err := Read(r)
		if err != nil || n != int64(len(head)) || !reflect.DeepEqual(e, full()) {
			t.Fatalf("Read = %+v, %d, %v", e, n, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "BDAT 1\r\nmessage" {
			t.Errorf("rest %q", rest)
		}
	}
}

func TestTheHeadKeepsItsLength(t *testing.T) {
	e := full()
	before := len(e.Append(nil))
	e.Size, e.Sum = 1e15-1, 0xffffffff
	if after := len(e.Append(nil)); after != before {
		t.Errorf("%d octets became %d", before, after)
	}
}

// Any truncation and any flipped bit is seen.
func TestEveryFlipAndCutIsSeen(t *testing.T) {
	head := full().Append(nil)
	for n := range head {
		if _, _, err := Read(bufio.NewReader(bytes.NewReader(head[:n]))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for n := range head {
		for bit := range 8 {
			bad := bytes.Clone(head)
			bad[n] ^= 1 << bit
			if _, _, err := Read(bufio.NewReader(bytes.NewReader(append(bad, "more\r\n"...)))); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d of octet %d: %v", bit, n, err)
			}
		}
	}
}

func TestCheckRefusesWhatCouldNotBeRead(t *testing.T) {
	for name, spoil := range map[string]func(*Envelope){
		"no recipients":         func(e *Envelope) { e.Recipients = nil },
		"line feed in sender":   func(e *Envelope) { e.Sender = "a@b>\r\nRCPT TO:<c@d" },
		"closing bracket":       func(e *Envelope) { e.Sender = "a@b> SIZE=1" },
		"open quote":            func(e *Envelope) { e.Sender = `"a@b` },
		"empty recipient":       func(e *Envelope) { e.Recipients[0].Address = "" },
		"NUL in recipient":      func(e *Envelope) { e.Recipients[0].Address = "a\x00@b" },
		"8-bit without UTF8":    func(e *Envelope) { e.SMTPUTF8 = false },
		"long address":          func(e *Envelope) { e.Recipients[0].Address = strings.Repeat("a", MaxAddress+1) },
		"unknown body":          func(e *Envelope) { e.Body = "9BIT" },
		"unknown return":        func(e *Envelope) { e.Ret = "full" },
		"long envelope id":      func(e *Envelope) { e.EnvID = strings.Repeat("a", 101) },
		"notify never and more": func(e *Envelope) { e.Recipients[0].Notify = []string{"NEVER", "DELAY"} },
		"notify twice":          func(e *Envelope) { e.Recipients[0].Notify = []string{"DELAY", "DELAY"} },
		"notify unknown":        func(e *Envelope) { e.Recipients[0].Notify = []string{"X\r\n"} },
		"orcpt without a type":  func(e *Envelope) { e.Recipients[0].ORcpt = "b@c" },
		"orcpt type":            func(e *Envelope) { e.Recipients[0].ORcpt = "r c;b@c" },
		"long orcpt":            func(e *Envelope) { e.Recipients[0].ORcpt = "rfc822;" + strings.Repeat("a", 500) },
		"client address":        func(e *Envelope) { e.Client.Addr = "unknown" },
		"negative size":         func(e *Envelope) { e.Size = -1 },
	} {
		e := full()
		spoil(e)
		if e.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if err := full().Check(); err != nil {
		t.Error(err)
	}
}

func TestLongClientWordsAreCut(t *testing.T) {
	e := full()
	long := strings.Repeat("\xff", 5000)
	e.Client = Client{Addr: "192.0.2.1", Name: long, Helo: long, Proto: long, Login: long}
	got, _, err := Parse(e.Append(nil))
	if err != nil || len(got.Client.Helo) != maxAttribute {
		t.Fatalf("%v", err)
	}
}

func TestReadIsBounded(t *testing.T) {
	endless := bufio.NewReader(io.MultiReader(strings.NewReader("XFORWARD IDENT=a\r\n"), zeros{}))
	if _, _, err := Read(endless); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an endless line: %v", err)
	}
	if _, _, err := Read(bufio.NewReader(io.MultiReader(strings.NewReader("x"), failing{}))); err != io.ErrClosedPipe {
		t.Errorf("an error of the reader became %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWants(t *testing.T) {
	for _, c := range []struct {
		notify string
		want   string
	}{{"", "FAILURE DELAY"}, {"NEVER", ""}, {"SUCCESS", "SUCCESS"}, {"FAILURE,SUCCESS", "SUCCESS FAILURE"}} {
		var r Recipient
		if c.notify != "" {
			r.Notify = strings.Split(c.notify, ",")
		}
		var got []string
		for _, kind := range []string{"SUCCESS", "FAILURE", "DELAY"} {
			if r.Wants(kind) {
				got = append(got, kind)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("NOTIFY=%s wants %q, want %q", c.notify, s, c.want)
		}
	}
}

// FuzzRead: whatever is read is written back octet by octet.
func FuzzRead(f *testing.F) {
	f.Add(full().Append(nil))
	f.Add((&Envelope{Recipients: []Recipient{{Address: "a@b"}}}).Append(nil))
	f.Add([]byte("MAIL FROM:<>\r\nBDAT 000000000000000 LAST\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, n, err := Read(bufio.NewReaderSize(bytes.NewReader(data), 16))
		p, m, perr := Parse(data)
		if (err == nil) != (perr == nil) || err == nil && (int(n) != m || !reflect.DeepEqual(e, p)) {
			t.Fatalf("Read: %v, Parse: %v", err, perr)
		}
		if err == nil && !bytes.Equal(e.Append(nil), data[:n]) {
			t.Fatalf("%q became %q", data[:n], e.Append(nil))
		}
	})
}

// FuzzRoundTrip: whatever passes Check is read back as it was.
func FuzzRoundTrip(f *testing.F) {
	f.Add("id", "192.0.2.1", "helo", "a@b", true, "HDRS", "env", int64(7), "c@d", "NEVER", "rfc822;c@d")
	f.Add("", "::1", "", "", false, "", "", int64(0), `"x y>"@d`, "SUCCESS", "")
	f.Fuzz(func(t *testing.T, id, addr, helo, sender string, utf8 bool, ret, envID string, size int64, rcpt, notify, orcpt string) {
		e := &Envelope{ID: id, Client: Client{Addr: addr, Helo: helo}, Sender: sender, SMTPUTF8: utf8, Ret: ret, EnvID: envID, Size: size,
			Recipients: []Recipient{{Address: rcpt, ORcpt: orcpt}}}
		if notify != "" {
			e.Recipients[0].Notify = strings.Split(notify, ",")
		}
		if e.Check() != nil {
			t.Skip()
		}
		e.Client.Helo = helo[:min(len(helo), maxAttribute)]
		got, _, err := Parse(e.Append(nil))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v became %+v, %v", e, got, err)
		}
	})
}

func FuzzXtext(f *testing.F) {
	f.Add("a+b=c d")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := DecodeXtext(EncodeXtext(s)); err != nil || got != s {
			t.Fatalf("%q became %q, %v", s, got, err)
		}
		if d, err := DecodeXtext(s); err == nil && len(d) > len(s) {
			t.Fatalf("%q decodes to %q", s, d)
		}
	})
}
