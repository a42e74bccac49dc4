package mailbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// moreName is the file of the keywords that have no letter: Dovecot knows 26.
// A line "26 Junk" names a bit, and ":17 5" says that message 17 has the bits
// 26 and 28; of two lines for one message the later counts.
//
//	1 V1275660208
//	26 Junk
//	:17 5
//
// It is durable, and changed under the lock of the uidlist only.
const moreName = "peyk-keywords"

// maxBits is how many keywords a folder can have in all.
const maxBits = 64

// letterBits are those of keywords that stand in file names.
const letterBits = 1<<maxKeywords - 1

const maxMoreFile = 256 << 20

// moreState is what a folder knows of the file.
type moreState struct {
	names    []string          // from bit 26 on
	bits     map[uint32]uint64 // by UID; never letterBits
	lines    int               // of messages
	validity uint32

	stamp fileStamp
	stale bool // changed here, whether or not the file was
}

func (k *moreState) unchanged(path string) bool {
	is, err := stampFile(path)
	return err == nil && is == k.stamp && !k.stale
}

// load reads the file if it has changed. One of another UIDVALIDITY says
// nothing. When it cannot be read, the state stays as it was, and nothing may
// be written that follows from it.
func (k *moreState) load(path string, validity uint32) error {
	if k.unchanged(path) && (k.stamp == fileStamp{} || k.validity == validity) {
		return nil
	}
	text, is, err := readSmall(path, maxMoreFile)
	if err != nil {
		return err
	}
	of := parseMore(string(text))
	if of.validity != validity {
		of = moreState{validity: validity}
	}
	of.stamp = is
	*k = of
	return nil
}

// parseMore reads the file. A line that makes no sense, as one that a power
// cut has torn, is passed over.
func parseMore(text string) (k moreState) {
	head, rest, _ := strings.Cut(text, "\n")
	if v, ok := strings.CutPrefix(head, "1 V"); ok {
		n, _ := strconv.ParseUint(v, 10, 32)
		k.validity = uint32(n)
	}
	k.bits = make(map[uint32]uint64)
	for line := range strings.Lines(rest) {
		number, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || !strings.HasSuffix(line, "\n") {
			continue
		}
		if uid, isUID := strings.CutPrefix(number, ":"); isUID {
			k.message(uid, value)
			continue
		}
		i, err := strconv.Atoi(number)
		if err != nil || i < maxKeywords || i >= maxBits || checkKeyword(value) != nil {
			continue
		}
		k.name(i, value)
	}
	return k
}

func (k *moreState) message(uid, value string) {
	n, err := strconv.ParseUint(uid, 10, 32)
	bits, berr := strconv.ParseUint(value, 16, maxBits-maxKeywords)
	if err != nil || berr != nil || n == 0 {
		return
	}
	k.lines++
	k.set(uint32(n), bits<<maxKeywords)
}

func (k *moreState) set(uid uint32, bits uint64) {
	if bits == 0 {
		delete(k.bits, uid)
		return
	}
	k.bits[uid] = bits
}

func (k *moreState) name(i int, name string) {
	for len(k.names) <= i-maxKeywords {
		k.names = append(k.names, "")
	}
	k.names[i-maxKeywords] = name
}

// format writes the file.
func (k *moreState) format() []byte {
	text := fmt.Appendf(nil, "1 V%d\n", k.validity)
	for i, name := range k.names {
		if name != "" {
			text = fmt.Appendf(text, "%d %s\n", i+maxKeywords, name)
		}
	}
	for uid, bits := range k.bits {
		text = appendMore(text, uid, bits)
	}
	return text
}

func appendMore(text []byte, uid uint32, bits uint64) []byte {
	text = strconv.AppendUint(append(text, ':'), uint64(uid), 10)
	return append(strconv.AppendUint(append(text, ' '), bits>>maxKeywords, 16), '\n')
}

// keywordNamesNow returns the names of all bits.
func (f *Folder) keywordNamesNow() []string {
	letters, more := f.keywords.names, f.more.names
	if len(more) == 0 {
		return letters
	}
	all := make([]string, maxKeywords, maxBits)
	copy(all, letters)
	return append(all, more...)
}

// loadMore reads the keywords without a letter if they have changed.
func (f *Folder) loadMore() error {
	return f.more.load(f.path(moreName), f.ids.header.validity)
}

// loadKeywords brings both lists of keywords up to date.
func (f *Folder) loadKeywords() error { return f.loadNames(f.ids.header.validity) }

// loadNames is loadKeywords before the uidlist has been read.
func (f *Folder) loadNames(validity uint32) error {
	err := f.keywords.load(f.path(keywordsName))
	if err == nil {
		err = f.more.load(f.path(moreName), validity)
	}
	return temporary("cannot read the keywords", f.dir, err)
}

// addMore gives bits without a letter to names, under the lock of the uidlist.
func (f *Folder) addMore(lock *dotlock, names []string) error {
	f.more.stale = true // until the file has them too
	used, given := f.usedLetters(), uint64(0)
	for _, name := range names {
		i := f.freeBit(used)
		if i == maxBits {
			used = f.bitsInUse() | given // others are not needed any more
			i = f.freeBit(used)
			if i == maxBits {
				i = f.unusedBit(used)
			}
		}
		if i == maxBits {
			return ErrKeywords
		}
		f.more.name(i, name)
		used, given = used|1<<i, given|1<<i
	}
	return f.rewriteMore(lock)
}

func (f *Folder) freeBit(used uint64) int {
	i := maxKeywords
	for i < maxBits && (i-maxKeywords < len(f.more.names) && f.more.names[i-maxKeywords] != "" || used&(1<<i) != 0) {
		i++
	}
	return i
}

// unusedBit finds a bit that has a name, but no message.
func (f *Folder) unusedBit(used uint64) int {
	i := maxKeywords
	for i < maxBits && used&(1<<i) != 0 {
		i++
	}
	return i
}

// bitsInUse returns the bits that messages have now.
func (f *Folder) bitsInUse() (used uint64) {
	if s := f.snap.Load(); s != nil {
		for _, m := range s.Messages.All() {
			used |= m.Keywords
		}
	}
	for _, bits := range f.more.bits {
		used |= bits
	}
	return used
}

// rewriteMore replaces the file by one without messages that are gone.
func (f *Folder) rewriteMore(lock *dotlock) error {
	if s := f.snap.Load(); s != nil {
		for uid := range f.more.bits {
			if _, ok := s.Messages.Index(uid); !ok && uid < s.UIDNext {
				delete(f.more.bits, uid)
			}
		}
	}
	if !lock.held() {
		return ErrLocked
	}
	f.more.validity = f.ids.header.validity
	path := f.path(moreName)
	f.more.stale = true
	return errors.Join(f.host.o.Disk.ReplaceFile(path, f.more.format(), 0o600), f.loadMore())
}

// moreBits is what a message has of keywords without a letter.
type moreBits struct {
	uid  uint32
	bits uint64
}

// saveMore makes keywords without a letter durable.
func (f *Folder) saveMore(lock *dotlock, changes []moreBits) error {
	path := f.path(moreName)
	if err := f.loadMore(); err != nil {
		return err
	}
	var lines []byte
	for _, c := range changes {
		if f.more.bits[c.uid] != c.bits&^letterBits {
			lines = appendMore(lines, c.uid, c.bits)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if f.more.bits == nil {
		f.more.bits = make(map[uint32]uint64)
	}
	f.more.stale = true
	defer nudge(f.path("cur"))
	for _, c := range changes {
		f.more.set(c.uid, c.bits&^letterBits)
	}
	if (f.more.stamp == fileStamp{}) || f.more.lines > 2*len(f.more.bits)+64 || !endsLine(path) {
		return f.rewriteMore(lock)
	}
	if !lock.held() {
		return ErrLocked
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.host.o.Disk.Append(file, lines), file.Close(), f.loadMore())
}

// endsLine reports whether a file ends with a whole line.
func endsLine(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] == '\n'
}

// applyMore gives messages the keywords that the file says they have.
func (f *Folder) applyMore(s *scan) error {
	if err := f.loadMore(); err != nil {
		return err
	}
	if len(f.more.bits) == 0 && f.usedLetters()&^letterBits == 0 {
		return nil
	}
	for i, m := range s.messages.All() {
		bits := f.more.bits[m.UID]
		s.used |= bits
		if m.Keywords&^letterBits != bits {
			s.messages.edit(i).Keywords = m.Keywords&letterBits | bits
		}
	}
	return nil
}
