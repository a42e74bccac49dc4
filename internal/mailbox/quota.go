package mailbox

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maildirsizeName is the quota file of Maildir++: the limits in the first
// line, "1000000S,1000C", then changes, "octets messages", to be summed up.
const maildirsizeName = "maildirsize"

// The file is calculated anew when it is larger than this, or when it says
// that the mailbox is full and is not fresh.
const (
	maxMaildirsize   = 5120
	freshMaildirsize = 15 * time.Minute
)

// usage is what maildirsize says.
type usage struct {
	limit           Quota
	bytes, messages int64
	lines           int // below the first
}

// parseMaildirsize reads the file; not ok means calculate it anew.
func parseMaildirsize(text string) (u usage, ok bool) {
	if len(text) > maxMaildirsize || !strings.HasSuffix(text, "\n") {
		return u, false
	}
	head, rest, _ := strings.Cut(text, "\n")
	if u.limit, ok = parseQuota(head); !ok {
		return u, false
	}
	for line := range strings.Lines(rest) {
		words := strings.Fields(line)
		if len(words) != 2 {
			return u, false
		}
		b, berr := strconv.ParseInt(words[0], 10, 64)
		m, merr := strconv.ParseInt(words[1], 10, 64)
		if berr != nil || merr != nil || b > maxMessage || b < -maxMessage || m > maxMessage || m < -maxMessage {
			return u, false
		}
		u.bytes, u.messages, u.lines = u.bytes+b, u.messages+m, u.lines+1
	}
	return u, u.lines > 0 && u.bytes >= 0 && u.messages >= 0
}

// parseQuota reads the first line of maildirsize, "1000000S,1000C".
func parseQuota(s string) (q Quota, ok bool) {
	q, ok = parseLimits(s)
	return q, ok && q.Mailboxes == 0
}

// parseLimits reads "1000000S,1000C,100M".
func parseLimits(s string) (q Quota, ok bool) {
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		if part == "" {
			continue
		}
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		if err != nil || n < 0 {
			return q, false
		}
		switch part[len(part)-1] {
		case 'S':
			q.Bytes = n
		case 'C':
			q.Messages = n
		case 'M':
			q.Mailboxes = n
		default:
			return q, false
		}
	}
	return q, true
}

func (q Quota) String() string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%dS", q.Bytes))
	}
	if q.Messages > 0 {
		parts = append(parts, fmt.Sprintf("%dC", q.Messages))
	}
	return strings.Join(parts, ",")
}

func (q Quota) none() bool { return q.Bytes <= 0 && q.Messages <= 0 }

// exceeded reports whether more would not fit.
func (u *usage) exceeded(q Quota, bytes, messages int64) bool {
	return q.Bytes > 0 && u.bytes+bytes > q.Bytes || q.Messages > 0 && u.messages+messages > q.Messages
}

func (d *drop) checkQuota(h *Host, size int64) error { return h.checkQuota(d.Root, d.Quota, size, 1) }

// checkQuota returns an error, which wraps ErrQuota, when a mailbox has no
// room for so much more.
func (h *Host) checkQuota(root string, q Quota, bytes, messages int64) error {
	q, err := h.effective(root, q)
	if err != nil || q.none() {
		return err
	}
	if q.Bytes > 0 && bytes > q.Bytes {
		return full(true)
	}
	u, fresh, err := h.usage(root, q)
	if err != nil || !u.exceeded(q, bytes, messages) {
		return err
	}
	if !fresh { // the sums may be off: believe only a new count
		if u, err = h.recalculate(root, q); err != nil {
			return err
		}
	}
	if u.exceeded(q, bytes, messages) {
		return full(false)
	}
	return nil
}

// usage returns what the account holds, by the file if it can be used. Fresh
// means that a new count would find the same.
func (h *Host) usage(root string, q Quota) (u usage, fresh bool, err error) {
	q.Mailboxes = 0 // maildirsize does not know of them
	text, at, err := readMaildirsize(filepath.Join(root, maildirsizeName))
	if err == nil {
		var ok bool
		if u, ok = parseMaildirsize(text); ok && u.limit == q {
			return u, u.lines == 1 && time.Since(at) < freshMaildirsize, nil
		}
	}
	u, err = h.recalculate(root, q)
	return u, true, err
}

func readMaildirsize(path string) (text string, at time.Time, err error) {
	file, info, err := openRegular(path)
	if err != nil {
		return "", at, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxMaildirsize+1))
	return string(raw), info.ModTime(), err
}

// recalculate counts all messages of an account, and writes maildirsize if
// there is a limit to write.
func (h *Host) recalculate(root string, q Quota) (usage, error) {
	q.Mailboxes = 0
	u := usage{limit: q, lines: 1}
	t := h.lockTally(root, unix.LOCK_EX)
	defer t.done()
	dirs, err := folderDirs(root)
	if err != nil {
		return u, err
	}
	for _, dir := range dirs {
		for _, sub := range []string{"new", "cur"} {
			if err := h.addUp(filepath.Join(root, dir, sub), &u); err != nil && !os.IsNotExist(err) {
				return u, err
			}
		}
	}
	if q.none() {
		return u, nil
	}
	text := fmt.Sprintf("%s\n%d %d\n", q, u.bytes, u.messages)
	if err := h.writeCalculated(root, text); err != nil {
		h.trouble("cannot write maildirsize, it is calculated each time", root, err)
	}
	return u, nil
}

func (h *Host) addUp(dir string, u *usage) error {
	return h.readDir(dir, func(name []byte) {
		size := sizeField(string(name), ",S=")
		if size < 0 {
			h.count.fileStats.Add(1)
			info, err := os.Lstat(dir + "/" + string(name))
			if err != nil {
				return // gone meanwhile
			}
			size = info.Size()
		}
		u.bytes += size
		u.messages++
	})
}

// writeCalculated puts a new maildirsize into place. It is not synced: it can
// be calculated again.
func (h *Host) writeCalculated(root, text string) error {
	name, err := h.uniqueName()
	if err != nil {
		return err
	}
	file, err := h.create(filepath.Join(root, "tmp", name))
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		file.Abort()
		return err
	}
	err = file.Close()
	if err == nil {
		err = h.o.Disk.RenameUnsynced(file.Name(), filepath.Join(root, maildirsizeName))
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

// countQuota notes that an account has more, or less, than before, if it has
// a maildirsize at all.
func (h *Host) countQuota(root string, bytes, messages int64) {
	path := filepath.Join(root, maildirsizeName)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		defer file.Close()
		_, err = fmt.Fprintf(file, "%d %d\n", bytes, messages)
	}
	if err != nil {
		h.trouble("cannot add to maildirsize", path, err)
		os.Remove(path) // better none than a wrong one
	}
}

// Usage returns what the account holds: octets on disk, and messages.
func (a *Account) Usage() (bytes, messages int64, err error) {
	q, err := a.Limits()
	if err != nil {
		return 0, 0, err
	}
	u, _, err := a.host.usage(a.root, q)
	return u.bytes, u.messages, temporary("cannot count the mailbox", a.root, err)
}
