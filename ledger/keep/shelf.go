package keep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

const (
	// recentDays is how many days the gauges look back.
	recentDays = 30
	// maxOtherWrites bounds the writes of an hour to other pages than that of today. Passes every
	// ten minutes write today's page six times.
	maxOtherWrites = 6
)

// shelf has the pages that are in use: those that are not settled, and those that tell what was
// booked before. Only a pass uses it.
type shelf struct {
	store   pages.Store
	actuals ledger.Actuals

	isLoaded bool
	entries  map[string]*pages.Entry
	// sums has the sums by policy of each recent page.
	sums map[string]map[string]ledger.Sum
	// pending has the groups that are booked on a page that is not written yet.
	pending map[string][]ledger.Group
	dirty   map[string]bool
	// unlisted has the pages that were there and that no list had.
	unlisted map[string]bool
	// counted has the groups that were counted, and whose page does not say so yet.
	counted map[string]map[string]bool
	// until is the instant up to which everything that had ended is booked, as the pages say.
	until time.Time
	// open is what the page named openPage has of the groups that have not ended.
	open     []byte
	openPage string
	// otherWrites has when other pages than that of today were written in the last hour.
	otherWrites []time.Time
	days        []string // all pages of days, sorted
	// censusUntil is when the newest census was taken that the pages have.
	censusUntil time.Time
}

// load reads the pages, unless they are known. What was booked and is not written yet is booked
// again.
func (s *shelf) load(ctx context.Context, now time.Time) error {
	if s.isLoaded {
		return nil
	}
	listed, err := s.store.List(ctx)
	if err != nil {
		return err
	}
	s.entries, s.sums, s.days, s.open, s.openPage = map[string]*pages.Entry{}, map[string]map[string]ledger.Sum{}, nil, nil, ""
	s.censusUntil = time.Time{} // a census that could not be written is taken again
	if s.dirty == nil {
		s.dirty, s.pending, s.counted, s.unlisted = map[string]bool{}, map[string][]ledger.Group{}, map[string]map[string]bool{}, map[string]bool{}
	}
	if err := s.loadDays(ctx, listed, now); err != nil {
		return err
	}
	for name, groups := range s.pending {
		if err := s.need(ctx, name); err != nil {
			return err
		}
		s.pending[name] = slices.DeleteFunc(groups, func(g ledger.Group) bool {
			return s.isBooked(types.UID(g.UID)) || !s.entries[name].Page.Book(g) // another leader has
		})
		s.dirty[name] = true
	}
	s.isLoaded = true
	return nil
}

// loadDays reads the pages that are needed, the newest first: it says how far back the others are.
func (s *shelf) loadDays(ctx context.Context, listed []pages.Listed, now time.Time) error {
	recent := ledger.DayOf(now.AddDate(0, 0, -recentDays))
	for _, l := range slices.Backward(listed) {
		if len(l.Name) < len(time.DateOnly) {
			continue // of a month
		}
		s.days = append(s.days, l.Name)
		if l.Name < recent && !l.IsOpen && l.Name < ledger.DayOf(s.until) {
			continue
		}
		e, err := s.read(ctx, l.Name)
		if err != nil {
			return err
		}
		s.until = later(s.until, e.BookedUntil)
		if s.openPage == "" && len(e.Open) > 0 {
			s.open, s.openPage = e.Open, l.Name
		}
		s.entries[l.Name], s.censusUntil = e, later(s.censusUntil, e.Page.Census().Until)
		s.sum(l.Name)
	}
	slices.Sort(s.days)
	for name := range s.entries {
		s.clearOpen(name)
	}
	s.putAway()
	return nil
}

// clearOpen makes a page forget what was open, unless the page is the newest that says so. What is old
// would come back once nothing is open, and be booked again.
func (s *shelf) clearOpen(name string) {
	if e := s.entries[name]; e != nil && name != s.openPage && len(e.Open) > 0 {
		e.Open, s.dirty[name] = nil, true
	}
}

// read reads a page. A page that is damaged is empty, and is set aside once there is something to
// write.
func (s *shelf) read(ctx context.Context, name string) (*pages.Entry, error) {
	e, err := s.store.Read(ctx, name)
	if errors.Is(err, pages.ErrDamaged) {
		log.FromContext(ctx).Error(err, "cannot read what was booked on a day, the day begins anew", "page", name)
		return e, nil
	}
	return e, err
}

// errAnotherLeader says that another leader has written a page since all pages were read.
var errAnotherLeader = errors.New("another leader has written the ledger")

// need makes a page known. A page that nobody has listed is of another leader: all pages are read again
// then. A page that is not listed then either has lost its label.
func (s *shelf) need(ctx context.Context, name string) error {
	if s.entries[name] != nil {
		return nil
	}
	e, err := s.read(ctx, name)
	if err != nil {
		return err
	}
	if _, isListed := slices.BinarySearch(s.days, name); e.IsStored() && !isListed && !s.unlisted[name] {
		s.unlisted[name], s.isLoaded = true, false
		return fmt.Errorf("page %s: %w", name, errAnotherLeader)
	}
	s.entries[name], s.censusUntil = e, later(s.censusUntil, e.Page.Census().Until)
	return nil
}

// addCensus adds a census to the page of its day.
func (s *shelf) addCensus(ctx context.Context, census ledger.Census) error {
	name := ledger.DayOf(census.Until)
	if err := s.need(ctx, name); err != nil {
		return err
	}
	s.entries[name].Page.AddCensus(census)
	s.dirty[name], s.censusUntil = true, later(s.censusUntil, census.Until)
	return nil
}

// isBooked reports whether a group is booked, as far as the pages in use say.
func (s *shelf) isBooked(uid types.UID) bool {
	for _, e := range s.entries {
		if e.Page.Has(string(uid)) {
			return true
		}
	}
	return false
}

// book books a group on the page of its end. It returns false if the group was booked before.
func (s *shelf) book(ctx context.Context, g ledger.Group) (bool, error) {
	name := ledger.DayOf(g.Ended)
	if err := s.need(ctx, name); err != nil {
		return false, err
	}
	if s.isBooked(types.UID(g.UID)) || !s.entries[name].Page.Book(g) {
		return false, nil
	}
	s.pending[name], s.dirty[name] = append(s.pending[name], g), true
	return true, nil
}

// count returns the groups whose intensities have become known, each once, and settles what is old.
func (s *shelf) count(now time.Time) []ledger.Counted {
	var all []ledger.Counted
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		page := s.entries[name].Page
		if page.IsSettled() {
			continue
		}
		counted := page.Count(s.actuals, now)
		for _, c := range counted {
			if s.counted[name] == nil {
				s.counted[name] = map[string]bool{}
			}
			if !s.counted[name][c.Group.UID] {
				s.counted[name][c.Group.UID] = true
				all = append(all, c)
			}
		}
		if page.Settle(s.actuals, now) || len(counted) > 0 {
			s.dirty[name] = true
		}
		page.Forget(s.until)
		s.sum(name)
	}
	return all
}

// sum sums up a page by policy.
func (s *shelf) sum(name string) {
	sums := map[string]ledger.Sum{}
	for _, one := range s.entries[name].Page.Sums(s.actuals) {
		sum := sums[one.Policy]
		sum.Merge(one)
		sums[one.Policy] = sum
	}
	s.sums[name] = sums
}

// recent returns the sums by policy of the last days.
func (s *shelf) recent(now time.Time) map[string]ledger.Sum {
	all, since := map[string]ledger.Sum{}, ledger.DayOf(now.AddDate(0, 0, -recentDays))
	for name, sums := range s.sums {
		if name < since {
			delete(s.sums, name)
			continue
		}
		for policy, one := range sums {
			sum := all[policy]
			sum.Merge(one)
			all[policy] = sum
		}
	}
	return all
}

// putAway forgets the pages that nobody needs any more: those that are settled, written, and older
// than what can still be booked.
func (s *shelf) putAway() {
	oldest := ledger.DayOf(s.until)
	for name, e := range s.entries {
		if name < oldest && name != s.openPage && !s.dirty[name] && e.Page.IsSettled() {
			delete(s.entries, name)
		}
	}
}

// write writes today's page with what is open, and then the other pages that have changed, as many as the
// hour allows. What is booked on a page that is not written yet is open. A leader that leads no more fails
// at today's page, before it writes another. A page that cannot be written holds up no other.
func (s *shelf) write(ctx context.Context, now time.Time, openOf func(ended []ledger.Group) ([]byte, error)) error {
	today := ledger.DayOf(now)
	if err := s.writeToday(ctx, today, now, openOf); err != nil {
		return err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.dirty)) {
		if name == today || !s.mayWriteOther(now) {
			continue
		}
		if err := s.writeOne(ctx, name); err != nil {
			problems = append(problems, err)
			continue
		}
		s.otherWrites = append(s.otherWrites, now)
	}
	s.putAway()
	return joinFirst(problems)
}

// writeToday writes today's page with what is open.
func (s *shelf) writeToday(ctx context.Context, today string, now time.Time, openOf func(ended []ledger.Group) ([]byte, error)) error {
	open, err := openOf(s.ended(today))
	if err != nil {
		return err
	}
	if err := s.need(ctx, today); err != nil {
		return err
	}
	e := s.entries[today]
	if !e.IsStored() && !s.dirty[today] && string(open) == string(s.open) {
		return nil // nothing to say on a new day
	}
	e.Open, e.BookedUntil = open, later(s.until, now.Add(-watermarkAge))
	if err := s.writeOne(ctx, today); err != nil {
		return err
	}
	before := s.openPage
	s.until, s.open, s.openPage = later(s.until, e.BookedUntil), open, today
	s.clearOpen(before)
	return nil
}

// mayWriteOther reports whether the hour allows another write to another page than that of today.
func (s *shelf) mayWriteOther(now time.Time) bool {
	s.otherWrites = slices.DeleteFunc(s.otherWrites, func(at time.Time) bool { return now.Sub(at) >= time.Hour || at.After(now) })
	return len(s.otherWrites) < maxOtherWrites
}

// writeOne writes a page. If that fails, all pages are read again: somebody else may have written
// them.
func (s *shelf) writeOne(ctx context.Context, name string) error {
	e := s.entries[name]
	if _, err := s.store.Write(ctx, e, s.actuals); err != nil {
		s.isLoaded = false
		return err
	}
	delete(s.dirty, name)
	delete(s.pending, name)
	delete(s.counted, name)
	if i, found := slices.BinarySearch(s.days, name); !found {
		s.days = slices.Insert(s.days, i, name)
	}
	return nil
}

// ended returns the groups that are booked on pages that are not written, but for one page.
func (s *shelf) ended(but string) []ledger.Group {
	var all []ledger.Group
	for _, name := range slices.Sorted(maps.Keys(s.pending)) {
		if name != but {
			all = append(all, s.pending[name]...)
		}
	}
	return all
}

// unwritten returns how many groups are booked on pages that are not written.
func (s *shelf) unwritten() int {
	n := 0
	for _, groups := range s.pending {
		n += len(groups)
	}
	return n
}
