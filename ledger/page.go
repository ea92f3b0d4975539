package ledger

import "time"

// SettledAfter is how long after its end the account of a group stays open. Until then, revisions of the
// actual intensities count.
const SettledAfter = 72 * time.Hour

// Page has what ended in a span of time: a day, or a month. Groups of the last three days are kept one by
// one, so that their accounts follow the revisions of the actual intensities. What is older is settled: only
// its sums are kept.
//
// A page is not safe for concurrent use.
type Page struct {
	// unexported: name, settled sums, unsettled groups, digests of the groups that were settled
}

// NewPage returns an empty page of a day (2006-01-02) or a month (2006-01).
func NewPage(name string) *Page { panic("core") }

// DayOf returns the name of the page of an instant.
func DayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Name returns the day or the month.
func (p *Page) Name() string { panic("core") }

// Book adds a group that has ended. It returns false if the page has the group already.
func (p *Page) Book(g Group) bool { panic("core") }

// Has reports whether the page has a group.
func (p *Page) Has(uid string) bool { panic("core") }

// Count marks the groups whose intensities have become known since the last call, and returns them with their
// accounts: each group once, also over restarts. Groups that are settled without known intensities are returned then.
func (p *Page) Count(actuals Actuals, now time.Time) []Counted { panic("core") }

// Counted is a group and its account.
type Counted struct {
	Group   Group
	Account Account
}

// Settle settles the groups that ended SettledAfter ago, and returns whether there were any.
func (p *Page) Settle(actuals Actuals, now time.Time) bool { panic("core") }

// IsSettled reports whether all groups are settled.
func (p *Page) IsSettled() bool { panic("core") }

// Forget forgets which groups were settled that ended before an instant. Nobody books such a group again.
func (p *Page) Forget(before time.Time) { panic("core") }

// Groups returns the groups that are not settled.
func (p *Page) Groups() []Group { panic("core") }

// Sums returns the sums of all groups, sorted by key. Groups that are not settled count with what is known now.
func (p *Page) Sums(actuals Actuals) []Sum { panic("core") }

// Merge adds the settled sums of another page, for the page of a month.
func (p *Page) Merge(other *Page) { panic("core") }

// Encode returns the page in JSON, compressed by gzip, in at most MaxPageBytes. A page that is too large settles
// its oldest groups first. Equal pages give equal bytes.
func (p *Page) Encode(actuals Actuals) ([]byte, error) { panic("core") }

// Decode reads what Encode has written.
func Decode(encoded []byte) (*Page, error) { panic("core") }

// MaxPageBytes bounds an encoded page: a ConfigMap has at most a MiB, and two keys.
const MaxPageBytes = 700 << 10
