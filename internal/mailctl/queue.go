package mailctl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/spool"
	"peyk/internal/status"
)

func (t *tool) queueCommand() *cli.Command {
	const ids = "ID ...|-"
	return &cli.Command{Name: "queue", Usage: "mail that waits", Subcommands: []*cli.Command{
		{Name: "list", Usage: "print the messages of the queue", Flags: []cli.Flag{jsonFlag}, Action: t.queueList},
		{Name: "show", Usage: "print envelope, history and text of a message", ArgsUsage: ids, Action: t.each(t.queueShow)},
		{Name: "flush", Usage: "try every waiting message now", Action: t.queueFlush},
		{Name: "hold", Usage: "set messages aside, so that nothing tries them", ArgsUsage: ids, Action: t.each((*spool.Queue).Hold)},
		{Name: "release", Usage: "let held messages go", ArgsUsage: ids, Action: t.each((*spool.Queue).Release)},
		{Name: "remove", Usage: "delete messages without telling their senders", ArgsUsage: ids, Flags: []cli.Flag{dryRunFlag}, Action: t.queueRemove},
		{Name: "requeue", Usage: "try messages now, by the routes and aliases of now", ArgsUsage: ids, Action: t.each((*spool.Queue).Requeue)},
	}}
}

func (t *tool) queue(c *cli.Context) (*spool.Queue, error) {
	config, err := t.config(c)
	if err != nil {
		return nil, err
	}
	dir := config.Text(control.Spool)
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	return spool.OpenQueue(dir, t.disk), nil
}

// each makes a command that does something to each message named by the
// arguments, or by the lines of stdin when the only argument is -. It goes on
// after errors and reports all of them.
func (t *tool) each(do func(*spool.Queue, string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		q, err := t.queue(c)
		if err != nil {
			return err
		}
		ids, err := t.ids(c)
		if err != nil {
			return err
		}
		var errs []error
		for _, id := range ids {
			if err := do(q, id); err != nil {
				errs = append(errs, queueError(id, err))
			}
		}
		return errors.Join(errs...)
	}
}

// queueError gives an error of the queue its exit status.
func queueError(id string, err error) error {
	if errors.Is(err, spool.ErrBusy) {
		return status.Newf(451, "4.2.0", "%s: %v; try again", printable(id), err)
	}
	if errors.Is(err, os.ErrNotExist) {
		return missing{fmt.Sprintf("no message %s there; mailctl queue list shows which wait, and which are on hold", printable(id))}
	}
	return fmt.Errorf("%s: %w", printable(id), err)
}

// missing is os.ErrNotExist in words of our own.
type missing struct{ text string }

func (m missing) Error() string { return m.text }
func (m missing) Unwrap() error { return os.ErrNotExist }

// ids returns the queue ids that a command is about. Lines may begin with an
// id and go on with anything, as those of queue list do; its indented lines
// are not about a message of their own.
func (t *tool) ids(c *cli.Context) ([]string, error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return nil, usagef("expected queue ids, or - to read them from stdin; mailctl queue list shows them")
	}
	if len(args) != 1 || args[0] != "-" {
		return args, nil
	}
	var ids []string
	lines := bufio.NewScanner(t.in)
	for lines.Scan() {
		line := lines.Text()
		if words := strings.Fields(line); len(words) > 0 && line[0] != '\t' {
			ids = append(ids, words[0])
		}
	}
	return ids, lines.Err()
}

func (t *tool) queueFlush(c *cli.Context) error {
	q, err := t.queue(c)
	if err != nil {
		return err
	}
	return q.Drop().Flush()
}

func (t *tool) queueRemove(c *cli.Context) error {
	if !c.Bool("dry-run") {
		return t.each((*spool.Queue).Remove)(c)
	}
	return t.each(func(q *spool.Queue, id string) error {
		e, err := q.Find(id)
		if err == nil {
			fmt.Fprintf(t.out, "would remove %s from %s\n", e.ID, e.Place)
		}
		return err
	})(c)
}

// queueNames are the words of postqueue(1) for the places of the spool.
var queueNames = map[spool.Place]string{
	spool.InDrop: "incoming", spool.InQueue: "deferred", spool.InHold: "hold", spool.InCorrupt: "corrupt",
}

// queued is a message in the keys of postqueue -j, and some of our own.
type queued struct {
	QueueName  string            `json:"queue_name"`
	QueueID    string            `json:"queue_id"`
	Arrival    int64             `json:"arrival_time"` // seconds since 1970
	Size       int64             `json:"message_size"`
	Forced     bool              `json:"forced_expire"`
	Sender     string            `json:"sender"`
	Recipients []queuedRecipient `json:"recipients"`
	NextTry    string            `json:"next_attempt,omitempty"`
	Error      string            `json:"error,omitempty"`
}

type queuedRecipient struct {
	Address string `json:"address"`
	Reason  string `json:"delay_reason,omitempty"`
}

func (t *tool) queueList(c *cli.Context) error {
	q, err := t.queue(c)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(t.out)
	defer out.Flush()
	writer := *t
	writer.out = out
	var errs []error
	for entry, err := range q.List() {
		if err == nil {
			err = writer.printQueued(c, describe(entry))
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// describe makes a line of the list: the recipients that are left, and why
// each waits.
func describe(e spool.Entry) queued {
	m := queued{QueueName: queueNames[e.Place], QueueID: e.ID, Arrival: e.Arrived.Unix(), Recipients: []queuedRecipient{}}
	if e.Err != nil {
		m.Error = e.Err.Error()
	}
	if e.Envelope == nil {
		return m
	}
	m.Size, m.Sender = e.Envelope.Size, e.Envelope.Sender
	state := spool.Fold(e.Records)
	if !state.Next.IsZero() {
		m.NextTry = state.Next.UTC().Format(time.RFC3339)
	}
	for _, r := range e.Envelope.Recipients {
		m.Recipients = append(m.Recipients, waiting(r.Address, state)...)
	}
	return m
}

// waiting returns what is left of one recipient: itself when nothing is known
// yet, else each of its targets that waits.
func waiting(address string, state spool.State) []queuedRecipient {
	known := false
	var left []queuedRecipient
	for target, record := range state.Last {
		if target.Original != address {
			continue
		}
		known = true
		if !record.Done() {
			left = append(left, queuedRecipient{or(target.Final, address), record.Reply})
		}
	}
	if !known {
		return []queuedRecipient{{Address: address}}
	}
	return left
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (t *tool) printQueued(c *cli.Context, m queued) error {
	if c.Bool("json") {
		return t.object(m)
	}
	_, err := fmt.Fprintf(t.out, "%s  %-8s  %8d  %s  %s\n", m.QueueID, m.QueueName, m.Size,
		time.Unix(m.Arrival, 0).Format("2006-01-02 15:04:05"), printable(or(m.Sender, "<>")))
	for _, r := range m.Recipients {
		if err == nil {
			_, err = fmt.Fprintf(t.out, "\t%s\n", printable(r.Address))
		}
		if err == nil && r.Reason != "" {
			_, err = fmt.Fprintf(t.out, "\t\t%s\n", printable(r.Reason))
		}
	}
	if err == nil && m.Error != "" {
		_, err = fmt.Fprintf(t.out, "\t\t%s\n", printable(m.Error))
	}
	return err
}

// queueShow prints all there is about one message.
func (t *tool) queueShow(q *spool.Queue, id string) error {
	e, err := q.Find(id)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "# %s in %s, arrived %s\n", e.ID, e.Place, e.Arrived.UTC().Format(time.RFC3339))
	if e.Err != nil {
		return e.Err
	}
	for line := range strings.Lines(string(e.Envelope.Append(nil))) {
		fmt.Fprintf(t.out, "# %s\n", printable(strings.TrimRight(line, "\r\n")))
	}
	for _, r := range e.Records {
		fmt.Fprintf(t.out, "# %s %s %s %s %s: %s\n", r.Time.UTC().Format(time.RFC3339), r.Action, r.Status,
			printable(or(r.Final, r.Original)), printable(r.Host), printable(r.Reply))
	}
	m, err := q.Read(id)
	if err != nil {
		return err
	}
	defer m.Close()
	return t.printMessage(m.Reader())
}

// printMessage prints a message line by line, escaped where a terminal could
// be driven by it.
func (t *tool) printMessage(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			if _, err := fmt.Fprintln(t.out, printable(strings.TrimRight(string(line), "\r\n"))); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
