package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// largest is how many names one file may have, with room to spare: ext4
// allows 65,000.
const largest = 50000

// fillLinked makes a folder of small messages that are few files by many
// names, unless it is there.
func (p *peer) fillLinked(dir string, messages int) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	const text, wire = "Subject: one of many\n\nx\n", 26
	source := ""
	for i := range messages {
		name := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", 1700000000+i, i, len(text), wire))
		if i%largest != 0 {
			if err := os.Link(source, name); err != nil {
				return err
			}
			continue
		}
		source = name
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return p.own(dir)
}

// own gives a new folder to whom the mailbox belongs.
func (p *peer) own(dir string) error {
	info, err := os.Stat(fmt.Sprintf(p.mail, "reader"))
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return chownAll(dir, int(st.Uid))
}

func (p *peer) folder(name string) string {
	return filepath.Join(fmt.Sprintf(p.mail, "reader"), "."+name)
}

// selectLarge takes the time of SELECT of a large folder: cold, or after
// another session had it.
func selectLarge(c *imapConn, cold bool) (float64, error) {
	dir := c.folder("Large")
	if err := c.fillLinked(dir, c.large); err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond) // what was changed a moment ago may change again unseen
	if !cold {
		if err := c.do("SELECT Large"); err != nil {
			return 0, err
		}
	}
	if err := c.do("LOGOUT"); err != nil {
		return 0, err
	}
	time.Sleep(300 * time.Millisecond) // it may write its indexes now
	if cold {
		if err := forgetIn(dir); err != nil {
			return 0, err
		}
	}
	other, err := openIMAP(c.peer, "reader@"+c.domain, 256<<10)
	if err != nil {
		return 0, err
	}
	defer other.conn.Close()
	took, err := timed("SELECT Large")(other)
	c.spent = other.spent
	return took, err
}

// largeMemory returns what a session that has a large folder selected adds to
// the PSS of the server, in octets for each message.
func largeMemory(c *imapConn) (float64, error) {
	if err := c.fillLinked(c.folder("Large"), c.large); err != nil {
		return 0, err
	}
	c.settle()
	before, _ := c.memory()
	if err := c.do("SELECT Large"); err != nil {
		return 0, err
	}
	c.settle()
	after, _ := c.memory()
	return (after - before) * (1 << 20) / float64(c.large), nil
}

// statusAll takes the time of one LIST with the STATUS of 1,000 folders, in a
// session that follows another.
func statusAll(c *imapConn) (float64, error) {
	for i := range c.times(1000) {
		if err := c.fillLinked(c.folder(fmt.Sprintf("Many%03d", i)), 3); err != nil {
			return 0, err
		}
	}
	time.Sleep(100 * time.Millisecond)
	return again(`LIST "" "Many*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY))`)(c)
}

// indexed takes the time of a search with a text index, for a server that has
// one.
func indexed(command string) func(*imapConn) (float64, error) {
	return func(c *imapConn) (took float64, err error) {
		if c.index == nil {
			return again(command)(c)
		}
		if err := c.index(true); err != nil {
			return 0, err
		}
		defer func() {
			if e := c.index(false); err == nil {
				err = e
			}
		}()
		return again(command)(c)
	}
}
