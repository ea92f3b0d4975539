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
	keptPast = time.Hour
	// ahead is how far from now an issue may start to keep older ones out: one that starts later may have a wrong date, or
	// a local time that is said to be UTC.
	maxStartAhead = time.Hour
	// farAhead is how far from now an issue may start: that for the whole of the next day starts within less.
	maxNextDayAhead = 48 * time.Hour
)

// Store keeps the last good forecasts of every source, per location. Readers take one atomic load
// and never wait; writers take turns. The zero Store is empty and ready to use.
type Store struct {
	writing   sync.Mutex
	snapshots atomic.Pointer[map[Source]*Snapshot]
}

// Snapshot returns what is held of a source now; it never changes afterwards. It is never nil: of an unknown source it is
// empty.
func (s *Store) Snapshot(source Source) *Snapshot {
	if snapshots := s.snapshots.Load(); snapshots != nil && (*snapshots)[source] != nil {
		return (*snapshots)[source]
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
// [Model.Receive].
//
// What is believed of an accepted forecast is held, whatever was held of its time before. After its end, the one before
// goes on as long as that is fresh, for a day after its issue; of the time before it begins, an hour is kept.
func (s *Store) Offer(source Source, document Document, now time.Time) error {
	var refused error
	s.update(source, func(snapshot *Snapshot) {
		snapshot.problem, snapshot.doubt, snapshot.doubted = document.Problem(), "", 0
		refused = snapshot.merge(document, now)
	})
	return refused
}

// Fail notes that the newest state of a source is missing or unreadable. What is held stays.
func (s *Store) Fail(source Source, err error) {
	s.update(source, func(snapshot *Snapshot) { snapshot.problem = fmt.Sprint(err) })
}

// Restore gives the model of a location the history that [Model.Save] has encoded, and judges anew by it what is held;
// the error is that of [Model.Restore].
func (s *Store) Restore(source Source, location string, history []byte, now time.Time) (err error) {
	s.edit(func(snapshots map[Source]*Snapshot) {
		snapshot := snapshots[source].clone()
		kept := snapshot.kept[location]
		if kept.Model == nil {
			kept.Location, kept.Model = location, &Model{}
		}
		if err = kept.Model.Restore(history, now); err != nil {
			return
		}
		if v := kept.Model.judge(kept.Series); v.Doubted > 0 {
			snapshot.doubted += v.Doubted
			snapshot.doubt, snapshot.problem = appendProblem(snapshot.doubt, location, v.Doubt), appendProblem(snapshot.problem, location, v.Doubt)
			kept.course.Series, kept.course.end, kept.Series = v.Believed, earlier(kept.course.end, v.Believed.End()), v.Believed
		}
		snapshot.kept[location] = kept
		snapshots[source] = snapshot
	})
	return err
}

// Forget drops all that is known of a source.
func (s *Store) Forget(source Source) {
	s.edit(func(snapshots map[Source]*Snapshot) { delete(snapshots, source) })
}

// update publishes a changed copy of the source's book.
func (s *Store) update(source Source, change func(*Snapshot)) {
	s.edit(func(snapshots map[Source]*Snapshot) {
		snapshot := snapshots[source].clone()
		snapshot.wasRead, snapshot.problem = true, ""
		change(snapshot)
		snapshots[source] = snapshot
	})
}

// edit publishes a changed copy of all books.
func (s *Store) edit(change func(map[Source]*Snapshot)) {
	s.writing.Lock()
	defer s.writing.Unlock()
	snapshots := map[Source]*Snapshot{}
	if old := s.snapshots.Load(); old != nil {
		maps.Copy(snapshots, *old)
	}
	change(snapshots)
	s.snapshots.Store(&snapshots)
}

// Snapshot is what is held of one source: an immutable view, safe for concurrent use. The zero Book is empty.
type Snapshot struct {
	wasRead bool
	problem string
	doubt   string // of the newest issue
	doubted int    // values of it
	kept    map[string]keptForecast
}

// A holding is the forecast of one location.
type keptForecast struct {
	Forecast
	course     course
	isInNewest bool // the newest issue of the source has the location
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
	bridged := f.Series.WithoutGaps(-MaxIntensity)
	if intensity, ok = bridged.At(t); ok || bridged.IsEmpty() || t.Before(f.from) || !t.Before(f.until) {
		return intensity, ok
	}
	if t.Before(bridged.Start()) {
		return bridged.At(bridged.Start())
	}
	return bridged.At(bridged.End().Add(-1))
}

// HasForecast reports whether a forecast has been taken, for any location.
func (s *Snapshot) HasForecast() bool {
	for _, kept := range s.kept {
		if !kept.Series.IsEmpty() {
			return true
		}
	}
	return false
}

// clone returns a copy that can be changed; of no book, an empty one.
func (s *Snapshot) clone() *Snapshot {
	c := &Snapshot{kept: map[string]keptForecast{}}
	if s != nil {
		c.wasRead, c.problem, c.doubt, c.doubted = s.wasRead, s.problem, s.doubt, s.doubted
		maps.Copy(c.kept, s.kept)
	}
	return c
}

// IsKnown reports whether the source was looked at at least once, with success or without.
func (s *Snapshot) IsKnown() bool { return s.wasRead }

// Problem says why the newest state of the source is not, or not wholly, used; "" when all is well.
func (s *Snapshot) Problem() string { return s.problem }

// Doubt says what of the newest issue is not believed, and why; "" if all is. It is a part of the problem, and outlives the
// issue until the next.
func (s *Snapshot) Doubt() string { return s.doubt }

// CountDoubted counts the values of the newest issue that are not believed.
func (s *Snapshot) CountDoubted() int { return s.doubted }

// Locations returns the names of the locations held, sorted, also of those of which there is only history.
func (s *Snapshot) Locations() []string { return slices.Sorted(maps.Keys(s.kept)) }

// Forecast returns the forecast of a location. If the newest issue has a single location, or the book before there is an
// issue, that one also answers to the location "", and, if it has no name itself, to every location that the issue does
// not have.
func (s *Snapshot) Forecast(location string) (Forecast, bool) {
	kept, ok := s.kept[location]
	if ok && kept.isInNewest {
		return kept.Forecast, true
	}
	only, single := s.only()
	if single && (only.Location == "" || location == "") {
		return only.Forecast, true
	}
	if !ok || only.isInNewest && location == "" { // all have names now
		return Forecast{}, false
	}
	return kept.Forecast, true
}

// only returns a holding of the newest issue, if there is one, or else of the book, and whether it is the single one.
func (s *Snapshot) only() (only keptForecast, single bool) {
	for _, kept := range s.kept {
		switch {
		case kept.isInNewest && !only.isInNewest, only.Model == nil:
			only, single = kept, true
		case kept.isInNewest == only.isInNewest:
			single = false
		}
	}
	return only, single
}

// merge takes over what is good in the issue; the error tells what is not.
func (s *Snapshot) merge(document Document, now time.Time) error {
	if len(document.Series) == 0 {
		s.problem = "forecast has no locations"
		return errors.New(s.problem)
	}
	var refused []error
	for _, location := range slices.Sorted(maps.Keys(document.Series)) {
		taken, v, err := s.kept[location].accept(location, document, now)
		if taken.Model != nil {
			s.kept[location] = taken
		}
		s.doubted += v.Doubted
		if v.Doubt != "" {
			s.doubt = appendProblem(s.doubt, location, v.Doubt)
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("location %q: %w", location, err))
		}
		if err != nil || v.Doubt != "" {
			s.problem = appendProblem(s.problem, location, cmp.Or(v.Doubt, fmt.Sprint(err)))
		}
	}
	if len(refused) < len(document.Series) {
		s.markNewest(document, now)
	}
	return errors.Join(refused...)
}

// note adds to a sentence what there is to say of a location.
func appendProblem(sentence, location, more string) string {
	return strings.TrimPrefix(fmt.Sprintf("%s; location %q: %s", sentence, location, more), "; ")
}

// take returns the holding after an issue, and what was believed of that; the error says why it was refused.
func (k keptForecast) accept(location string, document Document, now time.Time) (keptForecast, Verdict, error) {
	offered := document.Series[location]
	if err := k.checkOffer(offered, now); err != nil {
		return k, Verdict{}, err
	}
	issued := document.Issued
	if issued.IsZero() || issued.After(now) {
		issued = now
	}
	model, v := k.tellModel(offered, issued, now)
	k.from, k.until = document.span(location)
	k.until = earlier(k.until, now.Add(freshFor)) // and after that it is not worth what it was
	if v.Believed.IsEmpty() {
		return k, v, errors.New(v.Doubt)
	}
	k.course = k.course.next(v.Believed, issued, now)
	k.Location, k.Series, k.Issued, k.Model = location, k.course.Series, document.Issued, model
	return k, v, nil
}

// turn notes which locations the newest issue has. The others may come back, and until then their models go by the past:
// they are dropped once that is too old to be of use.
func (s *Snapshot) markNewest(newest Document, now time.Time) {
	for location, kept := range s.kept {
		_, kept.isInNewest = newest.Series[location]
		s.kept[location] = kept
		if !kept.isInNewest && !now.Before(kept.Series.End()) && kept.Model.lastReceived().Before(now.Add(-retentionHours*time.Hour)) {
			delete(s.kept, location)
		}
	}
}

// hear tells the model of the location, a new one if there is none, of an issue, and what it believes of that.
func (k keptForecast) tellModel(series *Series, issued, now time.Time) (*Model, Verdict) {
	m := k.Model
	if m == nil {
		m = &Model{}
	}
	if !series.Start().After(now.Add(maxNextDayAhead)) { // else it is now that the clock is wrong, and far behind
		m.rewind(now)
	}
	return m, m.Receive(series, issued)
}

// refuse says why the offered series must not replace the holding; nil if it may.
func (k keptForecast) checkOffer(offered *Series, now time.Time) error {
	if offered.IsEmpty() {
		return errors.New("forecast is empty")
	}
	if _, covered := k.Series.At(now); covered && offered.Start().After(now.Add(maxNextDayAhead)) {
		return fmt.Errorf("forecast from %s starts more than two days from now, and the one held is of now", offered.Start().Format(time.RFC3339))
	}
	if !now.Before(k.course.end) || k.course.start.After(now.Add(maxStartAhead)) {
		return nil
	}
	firstEnd, _ := offered.NextBoundary(offered.Start())
	if firstEnd.After(k.course.start) || offered.End().After(k.course.end) {
		return nil
	}
	return fmt.Errorf("forecast from %s is older than the one held, from %s",
		offered.Start().Format(time.RFC3339), k.course.start.Format(time.RFC3339))
}
