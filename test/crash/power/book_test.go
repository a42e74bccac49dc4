package power_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// A place is where a message is: what IMAP promises never to use for another.
type place struct {
	folder string
	uid    uint32
}

// A letter is one message at one place.
type letter struct{ id, flags string }

// A state is what an account holds as far as its client was told.
type state struct {
	letters map[place]letter
	folders map[string]bool
	subs    map[string]bool
}

func newState() state {
	return state{map[place]letter{}, map[string]bool{"INBOX": true}, map[string]bool{}}
}

func (s state) clone() state {
	return state{maps.Clone(s.letters), maps.Clone(s.folders), maps.Clone(s.subs)}
}

// An op is one change, from its command to its acknowledgement. Between them
// it may be done, in part or not at all.
type op struct {
	what       string
	begin, end int64 // the clock when it was sent and when it was acknowledged

	put    map[place]letter // letters that are there afterwards, with these flags
	drop   []place          // letters that are gone afterwards
	put2   []arrival        // letters that get their places from the answer
	folder string           // a folder that is there afterwards
	sub    string           // a subscription that is there afterwards
}

// An arrival is a message that an op brings into a folder.
type arrival struct {
	folder string
	letter
}

// never is the end of an op that was not acknowledged.
const never = math.MaxInt64

func (o *op) apply(s state) {
	for _, p := range o.drop {
		delete(s.letters, p)
	}
	maps.Copy(s.letters, o.put)
	if o.folder != "" {
		s.folders[o.folder] = true
	}
	if o.sub != "" {
		s.subs[o.sub] = true
	}
}

// A tell is one time that a client heard which message has a UID.
type tell struct {
	place
	id string
	at int64
}

// A delivery is one message on its way into an INBOX.
type delivery struct {
	id         string
	begin, end int64
	copies     int // how many extra copies a cut may make
}

// A book is all that was asked of one account and all that it answered.
type book struct {
	name  string
	clock func() int64

	mu         sync.Mutex
	ops        []*op // one after the other
	tells      []tell
	validity   map[string]uint64 // of each folder, once it was told
	deliveries []*delivery
	now        state // after all that was acknowledged
}

func newBook(name string, clock func() int64) *book {
	return &book{name: name, clock: clock, validity: map[string]uint64{}, now: newState()}
}

// do runs an op: send returns once it is acknowledged.
func (b *book) do(o *op, send func() error) error {
	b.mu.Lock()
	o.begin, o.end = b.clock(), never
	b.ops = append(b.ops, o)
	b.mu.Unlock()
	if err := send(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.end = b.clock()
	o.apply(b.now)
	return nil
}

// learn notes what was told without being asked for: mail that came.
func (b *book) learn(p place, l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.clock()
	o := &op{what: "learn " + l.id, begin: at, end: at, put: map[place]letter{p: l}}
	b.ops = append(b.ops, o)
	b.tells = append(b.tells, tell{p, l.id, at})
	o.apply(b.now)
}

func (b *book) told(p place, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tells = append(b.tells, tell{p, id, b.clock()})
}

// hasValidity notes a UIDVALIDITY; a second one is an error.
func (b *book) hasValidity(folder string, v uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.validity[folder]; old != 0 && old != v {
		return fmt.Errorf("%s %s: UIDVALIDITY %d, and was %d", b.name, folder, v, old)
	}
	b.validity[folder] = v
	return nil
}

// deliver notes a delivery: send returns once it is acknowledged.
func (b *book) deliver(id string, copies int, send func() error) error {
	d := &delivery{id: id, end: never, copies: copies}
	b.mu.Lock()
	d.begin = b.clock()
	b.deliveries = append(b.deliveries, d)
	b.mu.Unlock()
	if err := send(); err != nil {
		return err
	}
	b.mu.Lock()
	d.end = b.clock()
	b.mu.Unlock()
	return nil
}

// some returns up to n letters of a folder that has any.
func (b *book) some(r *rand.Rand, n int) (folder string, places []place) {
	var all []place
	for p := range b.now.letters {
		all = append(all, p)
	}
	if len(all) == 0 {
		return "", nil
	}
	slices.SortFunc(all, func(a, b place) int {
		if c := strings.Compare(a.folder, b.folder); c != 0 {
			return c
		}
		return int(a.uid) - int(b.uid)
	})
	folder = all[r.IntN(len(all))].folder
	all = slices.DeleteFunc(all, func(p place) bool { return p.folder != folder })
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return folder, all[:min(len(all), 1+r.IntN(n))]
}

// acknowledged counts what was.
func (b *book) acknowledged() (n int) {
	for _, o := range b.ops {
		if o.end != never {
			n++
		}
	}
	for _, d := range b.deliveries {
		if d.end != never {
			n++
		}
	}
	return n
}

// compose makes a message that shows its id and any damage.
func compose(r *rand.Rand, id string) []byte {
	size := r.IntN(6000)
	if r.IntN(10) == 0 {
		size = r.IntN(100_000)
	}
	var body strings.Builder
	for body.Len() < size {
		fmt.Fprintf(&body, "%s %016x %016x\r\n", id, r.Uint64(), r.Uint64())
	}
	fmt.Fprintf(&body, "end of %s\r\n", id)
	return fmt.Appendf(nil, "X-Id: %s\r\nX-Sum: %s\r\nSubject: power\r\n\r\n%s", id, sum(body.String()), body.String())
}

// sum is the checksum of a body, whatever its line ends.
func sum(body string) string {
	s := sha256.Sum256([]byte(strings.ReplaceAll(body, "\r\n", "\n")))
	return hex.EncodeToString(s[:])
}

// read returns the id of a message that compose made, if it is whole.
func read(message string) (id string, err error) {
	message = strings.ReplaceAll(message, "\r\n", "\n")
	head, body, ok := strings.Cut(message, "\n\n")
	if !ok {
		return "", fmt.Errorf("%d octets without an end of the header", len(message))
	}
	want := ""
	for line := range strings.SplitSeq(head, "\n") {
		if value, ok := strings.CutPrefix(line, "X-Id: "); ok {
			id = value
		}
		if value, ok := strings.CutPrefix(line, "X-Sum: "); ok {
			want = value
		}
	}
	if id == "" || want != sum(body) {
		return id, fmt.Errorf("message %q is damaged: %d octets", id, len(message))
	}
	return id, nil
}

// canonical is the form in which flags are compared.
func canonical(flags []string) string {
	var all []string
	for _, f := range flags {
		if f = strings.ToLower(f); f != `\recent` {
			all = append(all, f)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}
