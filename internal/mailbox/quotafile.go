package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"peyk/internal/status"
)

// quotaName is our file in the root of an account: limits that SETQUOTA has
// set, in one line "octetsS,messagesC,mailboxesM". Where it stands it holds
// in place of what the user database says, for deliver too; what it does not
// name is not limited.
const quotaName = "peyk-quota"

const maxQuotaFile = 200

// effective returns the limits of an account for which the user database
// says q.
func (h *Host) effective(root string, q Quota) (Quota, error) {
	text, is, err := readSmall(filepath.Join(root, quotaName), maxQuotaFile)
	if err != nil {
		return q, temporary("cannot read the quota", root, err)
	}
	if (is == fileStamp{}) {
		return q, nil
	}
	set, ok := parseQuotaFile(string(text))
	if !ok {
		return q, temporary("cannot read the quota", filepath.Join(root, quotaName), os.ErrInvalid)
	}
	return set, nil
}

func parseQuotaFile(text string) (q Quota, ok bool) {
	line, ok := strings.CutSuffix(text, "\n")
	if !ok {
		return q, false
	}
	return parseLimits(line)
}

// Limits returns the limits that hold for the account now.
func (a *Account) Limits() (Quota, error) { return a.host.effective(a.root, a.Quota()) }

// SaveQuota replaces the limits of the account, durably.
func (a *Account) SaveQuota(q Quota) error {
	text := q.String()
	if q.Mailboxes > 0 {
		text = strings.TrimPrefix(text+","+fmt.Sprintf("%dM", q.Mailboxes), ",")
	}
	err := a.host.o.Disk.ReplaceFile(filepath.Join(a.root, quotaName), []byte(text+"\n"), 0o600)
	return temporary("cannot save the quota", a.root, err)
}

// Mailboxes returns how many folders the account has.
func (a *Account) Mailboxes() (int64, error) {
	dirs, err := folderDirs(a.root)
	return int64(len(dirs)), temporary("cannot list the folders", a.root, err)
}

// room fails when the account may have no more folders.
func (a *Account) room() error {
	q, err := a.host.effective(a.root, a.quota)
	if err != nil || q.Mailboxes <= 0 {
		return err
	}
	n, err := a.Mailboxes()
	if err != nil {
		return err
	}
	if n >= q.Mailboxes {
		return status.Newf(552, "5.2.2", "cannot create the folder: %d is the limit", q.Mailboxes).Because("", ErrQuota)
	}
	return nil
}

// Full reports whether the account holds more than it may.
func (a *Account) Full() bool {
	q, err := a.Limits()
	if err != nil || q.none() {
		return false
	}
	u, _, err := a.host.usage(a.root, q)
	return err == nil && u.exceeded(q, 0, 0)
}
