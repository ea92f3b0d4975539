package forecast

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keep is how much of the past of a held series survives its replacement.
	keep = time.Hour
	// ahead is how far from now an issue may start to keep older ones out: one that starts later may have a wrong date, or
	// a local time that is said to be UTC.
	ahead = time.Hour
	// farAhead is how far from now an issue may start: that for the whole of the next day starts within less.
	farAhead = 48 * time.Hour
)

// Store keeps the last good forecasts of every source, per location. Readers take one atomic load
// and never wait; writers take turns. The zero Store is empty and ready to use.
type Store struct {
	writing sync.Mutex
	books   atomic.Pointer[map[Source]*Snapshot]
}

// Snapshot returns what is held of a source now; it never changes afterwards. It is never nil: of an unknown source it is
// empty.
func (s *Store) Snapshot(source Source) *Snapshot {
	if books := s.books.Load(); books != nil && (*books)[source] != nil {
		return (*books)[source]
	}
	return new(Snapshot)
}

// Offer replaces the forecasts of a source by those of a new issue, location by location. Locations that the issue does
// not have keep their last good forecast, and for eight weeks their model. The error tells which locations were refused,
// and why; the others are taken.
//
// A forecast is refused if it is older than the one held: its first slot is over when the newest issue held starts,
// and it ends no later; or if it starts in more than two days, and the one held covers now. When the one held is over at
// now, or starts in more than an hour, anything is better. It is refused, too, if nothing of it is believed, see
// [Model.Hear].
//
// What is believed of an accepted forecast is held, whatever was held of its time before. After its end, the one before
// goes on as long as that is fresh, for a day after its issue; of the time before it begins, an hour is kept.
func (s *Store) Offer(source Source, issue Document, now time.Time) error {
	var refused error
	s.update(source, func(b *Snapshot) {
		b.problem, b.doubt, b.doubted = issue.Problem(), "", 0
		refused = b.merge(issue, now)
	})
	return refused
}

// Fail notes that the newest state of a source is missing or unreadable. What is held stays.
func (s *Store) Fail(source Source, err error) {
	s.update(source, func(b *Snapshot) { b.problem = fmt.Sprint(err) })
}

// Restore gives the model of a location the history that [Model.Save] has encoded, and judges anew by it what is held;
// the error is that of [Model.Restore].
func (s *Store) Restore(source Source, location string, history []byte, now time.Time) (err error) {
	s.edit(func(books map[Source]*Snapshot) {
		b := books[source].clone()
		h := b.held[location]
		if h.Model == nil {
			h.Location, h.Model = location, &Model{}
		}
		if err = h.Model.Restore(history, now); err != nil {
			return
		}
		if v := h.Model.judge(h.Series); v.Doubted > 0 {
			b.doubted += v.Doubted
			b.doubt, b.problem = note(b.doubt, location, v.Doubt), note(b.problem, location, v.Doubt)
			h.course.Series, h.course.end, h.Series = v.Believed, earlier(h.course.end, v.Believed.End()), v.Believed
		}
		b.held[location] = h
		books[source] = b
	})
	return err
}

// Forget drops all that is known of a source.
func (s *Store) Forget(source Source) {
	s.edit(func(books map[Source]*Snapshot) { delete(books, source) })
}

// update publishes a changed copy of the source's book.
func (s *Store) update(source Source, change func(*Snapshot)) {
	s.edit(func(books map[Source]*Snapshot) {
		b := books[source].clone()
		b.known, b.problem = true, ""
		change(b)
		books[source] = b
	})
}

// edit publishes a changed copy of all books.
func (s *Store) edit(change func(map[Source]*Snapshot)) {
	s.writing.Lock()
	defer s.writing.Unlock()
	books := map[Source]*Snapshot{}
	if old := s.books.Load(); old != nil {
		maps.Copy(books, *old)
	}
	change(books)
	s.books.Store(&books)
}

// Snapshot is what is held of one source: an immutable view, safe for concurrent use. The zero Book is empty.
type Snapshot struct {
	known   bool
	problem string
	doubt   string // of the newest issue
	doubted int    // values of it
	held    map[string]holding
}

// A holding is the forecast of one location.
type holding struct {
	Forecast
	course course
	newest bool // the newest issue of the source has the location
}

// Forecast is the last good forecast of one location.
type Forecast struct {
	// Location is as the source names it; "" if it does not.
	Location string
	// Series may be over. It is empty if there is only a restored history.
	Series *Series
	// Issued is that of the newest issue in the series; zero if there is none.
	Issued time.Time
	// Model has heard all issues, and what was restored. Unlike the rest it goes on learning, and all books share it.
	Model *Model

	from, until time.Time // of what the newest issue says, be it believed or not
}

// Near returns the intensity at t. Where the source has spoken of t, and it is not known what is, that is what is known
// last before, or first after, the higher of both: it is not taken to be clean. ok is false if nothing is known.
func (f Forecast) Near(t time.Time) (intensity float64, ok bool) {
	bridged := f.Series.Bridged(-MaxIntensity)
	if intensity, ok = bridged.At(t); ok || bridged.Empty() || t.Before(f.from) || !t.Before(f.until) {
		return intensity, ok
	}
	if t.Before(bridged.Start()) {
		return bridged.At(bridged.Start())
	}
	return bridged.At(bridged.End().Add(-1))
}

// HasForecast reports whether a forecast has been taken, for any location.
func (b *Snapshot) HasForecast() bool {
	for _, h := range b.held {
		if !h.Series.Empty() {
			return true
		}
	}
	return false
}

// clone returns a copy that can be changed; of no book, an empty one.
func (b *Snapshot) clone() *Snapshot {
	c := &Snapshot{held: map[string]holding{}}
	if b != nil {
		c.known, c.problem, c.doubt, c.doubted = b.known, b.problem, b.doubt, b.doubted
		maps.Copy(c.held, b.held)
	}
	return c
}

// IsKnown reports whether the source was looked at at least once, with success or without.
func (b *Snapshot) IsKnown() bool { return b.known }

// Problem says why the newest state of the source is not, or not wholly, used; "" when all is well.
func (b *Snapshot) Problem() string { return b.problem }

// Doubt says what of the newest issue is not believed, and why; "" if all is. It is a part of the problem, and outlives the
// issue until the next.
func (b *Snapshot) Doubt() string { return b.doubt }

// CountDoubted counts the values of the newest issue that are not believed.
func (b *Snapshot) CountDoubted() int { return b.doubted }

// Locations returns the names of the locations held, sorted, also of those of which there is only history.
func (b *Snapshot) Locations() []string { return slices.Sorted(maps.Keys(b.held)) }

// Forecast returns the forecast of a location. If the newest issue has a single location, or the book before there is an
// issue, that one also answers to the location "", and, if it has no name itself, to every location that the issue does
// not have.
func (b *Snapshot) Forecast(location string) (Forecast, bool) {
	h, ok := b.held[location]
	if ok && h.newest {
		return h.Forecast, true
	}
	only, single := b.only()
	if single && (only.Location == "" || location == "") {
		return only.Forecast, true
	}
	if !ok || only.newest && location == "" { // all have names now
		return Forecast{}, false
	}
	return h.Forecast, true
}

// only returns a holding of the newest issue, if there is one, or else of the book, and whether it is the single one.
func (b *Snapshot) only() (only holding, single bool) {
	for _, h := range b.held {
		switch {
		case h.newest && !only.newest, only.Model == nil:
			only, single = h, true
		case h.newest == only.newest:
			single = false
		}
	}
	return only, single
}

// merge takes over what is good in the issue; the error tells what is not.
func (b *Snapshot) merge(issue Document, now time.Time) error {
	if len(issue.Series) == 0 {
		b.problem = "forecast has no locations"
		return errors.New(b.problem)
	}
	var refused []error
	for _, location := range slices.Sorted(maps.Keys(issue.Series)) {
		taken, v, err := b.held[location].take(location, issue, now)
		if taken.Model != nil {
			b.held[location] = taken
		}
		b.doubted += v.Doubted
		if v.Doubt != "" {
			b.doubt = note(b.doubt, location, v.Doubt)
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("location %q: %w", location, err))
		}
		if err != nil || v.Doubt != "" {
			b.problem = note(b.problem, location, cmp.Or(v.Doubt, fmt.Sprint(err)))
		}
	}
	if len(refused) < len(issue.Series) {
		b.turn(issue, now)
	}
	return errors.Join(refused...)
}

// note adds to a sentence what there is to say of a location.
func note(sentence, location, more string) string {
	return strings.TrimPrefix(fmt.Sprintf("%s; location %q: %s", sentence, location, more), "; ")
}

// take returns the holding after an issue, and what was believed of that; the error says why it was refused.
func (h holding) take(location string, issue Document, now time.Time) (holding, Verdict, error) {
	offered := issue.Series[location]
	if err := h.refuse(offered, now); err != nil {
		return h, Verdict{}, err
	}
	issued := issue.Issued
	if issued.IsZero() || issued.After(now) {
		issued = now
	}
	model, v := h.hear(offered, issued, now)
	h.from, h.until = issue.span(location)
	h.until = earlier(h.until, now.Add(freshFor)) // and after that it is not worth what it was
	if v.Believed.Empty() {
		return h, v, errors.New(v.Doubt)
	}
	h.course = h.course.next(v.Believed, issued, now)
	h.Location, h.Series, h.Issued, h.Model = location, h.course.Series, issue.Issued, model
	return h, v, nil
}

// turn notes which locations the newest issue has. The others may come back, and until then their models go by the past:
// they are dropped once that is too old to be of use.
func (b *Snapshot) turn(newest Document, now time.Time) {
	for location, h := range b.held {
		_, h.newest = newest.Series[location]
		b.held[location] = h
		if !h.newest && !now.Before(h.Series.End()) && h.Model.heard().Before(now.Add(-retention*time.Hour)) {
			delete(b.held, location)
		}
	}
}

// hear tells the model of the location, a new one if there is none, of an issue, and what it believes of that.
func (h holding) hear(series *Series, issued, now time.Time) (*Model, Verdict) {
	m := h.Model
	if m == nil {
		m = &Model{}
	}
	if !series.Start().After(now.Add(farAhead)) { // else it is now that the clock is wrong, and far behind
		m.rewind(now)
	}
	return m, m.Hear(series, issued)
}

// refuse says why the offered series must not replace the holding; nil if it may.
func (h holding) refuse(offered *Series, now time.Time) error {
	if offered.Empty() {
		return errors.New("forecast is empty")
	}
	if _, covered := h.Series.At(now); covered && offered.Start().After(now.Add(farAhead)) {
		return fmt.Errorf("forecast from %s starts more than two days from now, and the one held is of now", offered.Start().Format(time.RFC3339))
	}
	if !now.Before(h.course.end) || h.course.start.After(now.Add(ahead)) {
		return nil
	}
	firstEnd, _ := offered.NextBoundary(offered.Start())
	if firstEnd.After(h.course.start) || offered.End().After(h.course.end) {
		return nil
	}
	return fmt.Errorf("forecast from %s is older than the one held, from %s",
		offered.Start().Format(time.RFC3339), h.course.start.Format(time.RFC3339))
}
