package ledger

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// SettledAfter is how long after its end the account of a group stays open. Until then, revisions
// of the actual intensities count.
const SettledAfter = 72 * time.Hour

// Page has what ended in a span of time: a day, or a month. Groups of the last three days are kept
// one by one, so that their accounts follow the revisions of the actual intensities. What is older
// is settled: only its sums are kept, and for a while which groups they are.
//
// Where a method takes actual intensities, nil stands for none: the last account that was known
// counts.
//
// A page is not safe for concurrent use.
type Page struct {
	name      string
	sums      sums              // of settled groups
	open      map[string]*entry // by UID
	settled   digests
	uncounted []*entry        // settled groups that Count has not returned
	merged    map[string]bool // names of the pages of which the page has the sums
}

// An entry is a group that is not settled.
type entry struct {
	group     Group
	isCounted bool
	// The account by the intensities of two series, if it is computed. An account outlives the
	// series: a provider may know the last day only.
	account     Account
	isComputed  bool
	here, there *forecast.Series
}

// NewPage returns an empty page of a day (2006-01-02) or a month (2006-01).
func NewPage(name string) *Page {
	return &Page{name: name, sums: sums{}, open: map[string]*entry{}, settled: digests{}, merged: map[string]bool{}}
}

// DayOf returns the name of the page of an instant.
func DayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Name returns the day or the month.
func (p *Page) Name() string { return p.name }

// Book adds a group that has ended. It returns false if the page has the group already, or if the
// group has no UID. Numbers that cannot be true are put right.
func (p *Page) Book(g Group) bool {
	g = g.clean()
	if g.UID == "" || p.Has(g.UID) {
		return false
	}
	p.open[g.UID] = &entry{group: g}
	return true
}

// Has reports whether the page has a group.
func (p *Page) Has(uid string) bool { return p.open[uid] != nil || p.settled.has(uid) }

// Counted is a group and its account.
type Counted struct {
	Group   Group   `json:"group"`
	Account Account `json:"account"`
}

// Count marks the groups that can be compared since the last call, and returns them with their
// accounts, in the order of their ends: each group once, also over Encode and Decode. Groups that
// are settled, or could be, without known intensities are returned, too. The account of a group can
// change later: a revision does not count again.
func (p *Page) Count(actuals Actuals, now time.Time) []Counted {
	var counted []Counted
	for _, e := range p.uncounted {
		counted = append(counted, Counted{e.group, e.account})
	}
	p.uncounted = nil
	for _, e := range p.inOrder() {
		if e.isCounted {
			continue
		}
		account := e.accountBy(actuals)
		if account.IsCompared || isSettledAt(e.group, now) {
			e.isCounted = true
			counted = append(counted, Counted{e.group, account})
		}
	}
	return counted
}

// isSettledAt reports whether a group ended SettledAfter before an instant.
func isSettledAt(g Group, now time.Time) bool { return !now.Before(g.Ended.Add(SettledAfter)) }

// accountBy returns the account of the group. It computes nothing if the intensities are those of
// the call before, and keeps what it had if these intensities tell less.
func (e *entry) accountBy(actuals Actuals) Account {
	here, there := e.group.series(actuals)
	if e.isComputed && here == e.here && there == e.there {
		return e.account
	}
	if fresh := e.group.account(here, there); !e.isComputed || fresh.knows() >= e.account.knows() {
		e.account = fresh
	}
	e.isComputed, e.here, e.there = true, here, there
	return e.account
}

// Settle settles the groups that ended SettledAfter ago, and returns whether there were any.
func (p *Page) Settle(actuals Actuals, now time.Time) bool {
	due := slices.DeleteFunc(p.inOrder(), func(e *entry) bool { return !isSettledAt(e.group, now) })
	p.settle(due, actuals)
	return len(due) > 0
}

// settle settles groups. What Count has not returned is kept until it does.
func (p *Page) settle(due []*entry, actuals Actuals) {
	for _, e := range due {
		account := e.accountBy(actuals)
		p.sums.add(e.group, account)
		p.settled.add(e.group.UID, e.group.Ended)
		if !e.isCounted {
			p.uncounted = append(p.uncounted, e)
		}
		delete(p.open, e.group.UID)
	}
}

// IsSettled reports whether all groups are settled, and Count has returned all of them.
func (p *Page) IsSettled() bool { return len(p.open) == 0 && len(p.uncounted) == 0 }

// Forget forgets which groups were settled that ended before an instant. Nobody books such a group
// again.
func (p *Page) Forget(before time.Time) { p.settled.forget(before) }

// Groups returns the groups that are not settled, in the order of their ends.
func (p *Page) Groups() []Group {
	var groups []Group
	for _, e := range p.inOrder() {
		groups = append(groups, e.group)
	}
	return groups
}

// Accounts returns the groups that are not settled with their accounts, in the order of their ends.
func (p *Page) Accounts(actuals Actuals) []Counted {
	var all []Counted
	for _, e := range p.inOrder() {
		all = append(all, Counted{e.group, e.accountBy(actuals)})
	}
	return all
}

// inOrder returns the groups that are not settled, by their ends and UIDs.
func (p *Page) inOrder() []*entry {
	return slices.SortedFunc(maps.Values(p.open), func(a, b *entry) int {
		return cmp.Or(a.group.Ended.Compare(b.group.Ended), cmp.Compare(a.group.UID, b.group.UID))
	})
}

// Sums returns the sums of all groups, sorted by key. Groups that are not settled count with what
// is known now.
func (p *Page) Sums(actuals Actuals) []Sum {
	all := p.sums.clone()
	for _, e := range p.inOrder() {
		all.add(e.group, e.accountBy(actuals))
	}
	return all.sorted()
}

// Merge adds the settled sums of another page, for the page of a month. It returns false, and adds
// nothing, if the page has them already: a page may be merged again after a crash.
func (p *Page) Merge(other *Page) bool {
	if p.merged[other.name] {
		return false
	}
	p.merged[other.name] = true
	for _, s := range other.sums.sorted() {
		p.sums.merge(s)
	}
	return true
}
