package imapd

import (
	"context"
	"crypto/rand"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/guardconn"
)

// The octets of a message that CATENATE and APPEND make of others can fail to
// be written like those of a literal: the client hears NO, and goes on.
func TestAFullDiskIsToldToTheClient(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("needs root:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	o := &Options{Host: newHost(t), Now: time.Now, Rand: rand.Reader, Limits: DefaultLimits(), Preauth: filepath.Join(dir, "m"), Hostname: "h"}
	client, server := net.Pipe()
	defer client.Close()
	srv := New(*o)
	defer srv.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := newSession(context.Background(), srv, o, guardconn.NewConn(server, guardconn.Options{Now: time.Now}))
		defer s.close()
		s.run()
	}()
	c := lineClient(t, client)
	c.must("APPEND INBOX {400000+}\r\nSubject: x\r\n\r\n" + strings.Repeat("y", 400000-14))
	c.must("SELECT INBOX")
	url := ` URL ";UID=1"`
	header := ` URL ";UID=1/;SECTION=HEADER.FIELDS%20(SUBJECT)"`
	binary := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n" + strings.Repeat("z", 200_000) + "\r\n--b--\r\n"
	for _, command := range []string{
		"APPEND INBOX CATENATE (URL \"/INBOX/;UID=1\"" + strings.Repeat(url, 5) + header + ")",
		"APPEND INBOX ~{" + strconv.Itoa(len(binary)) + "+}\r\n" + binary + " ~{" + strconv.Itoa(len(binary)) + "+}\r\n" + binary + " ~{" + strconv.Itoa(len(binary)) + "+}\r\n" + binary,
	} {
		if tagged, _ := c.do(command); !strings.HasPrefix(tagged, "NO [SERVERBUG] ") {
			t.Errorf("%.60q: %s", command, tagged)
		}
	}
	c.must("FETCH 1 (BODY.PEEK[]<0.10>)")
	c.must("LOGOUT")
	<-done
}
