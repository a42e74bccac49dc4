package sendmail

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"

	"peyk/internal/control"
	"peyk/internal/smtpclient"
	"peyk/internal/spool"
	"peyk/internal/sysexits"
)

// listQueue is mailq: the listing that Postfix's postqueue -p gives, which
// scripts read.
func (p *program) listQueue() int {
	queue := spool.OpenQueue(p.config.Text(control.Spool), p.Disk)
	out := bufio.NewWriter(p.Stdout)
	defer out.Flush()
	n, octets := 0, int64(0)
	for e, err := range queue.List(spool.InDrop, spool.InQueue, spool.InHold) {
		if err != nil && errors.Is(err, fs.ErrPermission) {
			out.Flush()
			return p.fail(sysexits.NoPerm, errors.New("only root and queue-run's user may list the queue"))
		}
		if err != nil {
			out.Flush()
			return p.fail(sysexits.Unavailable, err)
		}
		if e.Envelope == nil {
			continue
		}
		if n == 0 {
			fmt.Fprintln(out, "-Queue ID-                        --Size-- ----Arrival Time---- -Sender/Recipient-------")
		}
		n++
		octets += e.Envelope.Size
		printEntry(out, e)
	}
	if n == 0 {
		fmt.Fprintln(out, "Mail queue is empty")
		return sysexits.OK
	}
	fmt.Fprintf(out, "-- %d Kbytes in %s.\n", (octets+1023)/1024, plural(n, "Request"))
	return sysexits.OK
}

// printEntry prints a message, then why each recipient that is left waits.
func printEntry(out *bufio.Writer, e spool.Entry) {
	mark := " "
	if e.Place == spool.InHold {
		mark = "!"
	}
	sender := e.Envelope.Sender
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	fmt.Fprintf(out, "%s%s %9d %s  %s\n", e.ID, mark, e.Envelope.Size, arrival(e.Arrived), printable(sender))
	state := spool.Fold(e.Records)
	for _, r := range e.Envelope.Recipients {
		done, reason := left(state, r.Address)
		if done {
			continue
		}
		if reason != "" {
			fmt.Fprintf(out, "    (%s)\n", printable(reason))
		}
		fmt.Fprintf(out, "%*s%s\n", 65, "", printable(r.Address))
	}
	fmt.Fprintln(out)
}

// left looks a recipient up in the journal: done means nothing is left to do.
func left(state spool.State, recipient string) (done bool, reason string) {
	found := false
	for target, record := range state.Last {
		if target.Original != recipient {
			continue
		}
		if !record.Done() {
			return false, record.Reply
		}
		found = true
	}
	return found, ""
}

// printable makes what strangers chose harmless for a terminal.
func printable(s string) string { return smtpclient.Printable(s, 500) }
