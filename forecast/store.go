package forecast

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keptPast is how much of the past of a series survives its replacement.
	keptPast = time.Hour
	// maxStartAhead is how far from now a forecast may start and still keep older forecasts out. A
	// forecast that starts later may have a wrong date, or a local time that claims to be UTC.
	maxStartAhead = time.Hour
	// maxNextDayAhead is how far from now a forecast may start at all. A forecast for the whole of
	// tomorrow starts within less.
	maxNextDayAhead = 48 * time.Hour
)

// Store keeps the last good forecasts of every source, per location. Readers take one atomic load
// and never wait. Writers take turns. The zero Store is empty and ready to use.
type Store struct {
	writing   sync.Mutex
	snapshots atomic.Pointer[map[Source]*Snapshot]
}

// Snapshot returns what the store keeps of a source now. The snapshot never changes afterwards. It
// is empty for an unknown source, and never nil.
func (s *Store) Snapshot(source Source) *Snapshot {
	if snapshots := s.snapshots.Load(); snapshots != nil && (*snapshots)[source] != nil {
		return (*snapshots)[source]
	}
	return new(Snapshot)
}

// Offer replaces the forecasts of a source by the forecasts of a new document, location by
// location. Locations that are not in the document keep their last good forecast, and for eight
// weeks their model. The error tells which locations were refused, and why. The other locations are
// accepted.
//
// The models observe the actual intensities of the document, see [Model.ObserveAll]. A location
// whose [Origin] has changed begins anew: nothing is kept of its forecasts, of its actual
// intensities and of what was learned from them. A document without details has the zero Origin.
// If nothing of the new origin is believed, the old one stays.
//
// Offer refuses a forecast for one of three reasons:
//
//   - The forecast is older than the one that is kept: its first slot is over when the newest kept
//     forecast starts, and it ends no later.
//   - The forecast starts in more than two days, and the one that is kept covers now.
//   - Nothing in the forecast is believed, see [Model.Receive].
//
// Once the kept forecast is over, or if it starts in more than an hour, any newer forecast replaces
// it.
//
// The store keeps what is believed of an accepted forecast, in place of everything that it kept of
// the same time. After the end of the accepted forecast the earlier one goes on while it is fresh,
// for a day after it was issued. Of the time before the accepted forecast, an hour is kept.
func (s *Store) Offer(source Source, document Document, now time.Time) error {
	var refused error
	s.update(source, func(snapshot *Snapshot) {
		snapshot.problem, snapshot.doubt, snapshot.doubted = document.Problem(), "", 0
		snapshot.general, snapshot.noted = document.elementProblem(), document.Note
		refused = snapshot.merge(document, now)
	})
	return refused
}

// Fail notes that the newest document of a source is missing or unreadable. The forecasts stay.
func (s *Store) Fail(source Source, err error) {
	s.update(source, func(snapshot *Snapshot) {
		snapshot.problem, snapshot.general = fmt.Sprint(err), fmt.Sprint(err)
	})
}

// ErrOtherOrigin says that a history is of another origin than the forecast that is kept.
var ErrOtherOrigin = errors.New("it is of another provider, zone or signal")

// Restore gives the model of a location the history that [Model.Save] has encoded, and that is of an
// origin. It then judges the kept forecast again, by that history. The error is [ErrOtherOrigin] or
// the one of [Model.Restore].
func (s *Store) Restore(source Source, location string, origin Origin, history []byte, now time.Time) (err error) {
	s.edit(func(snapshots map[Source]*Snapshot) {
		snapshot := snapshots[source].clone()
		kept := snapshot.kept[location]
		if kept.Model == nil {
			kept = newKept(location)
			kept.Details.Origin = origin
		}
		if kept.Details.Origin != origin {
			err = fmt.Errorf("the history cannot be used: %w", ErrOtherOrigin)
			return
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

// Forget deletes all that the store keeps of a source.
func (s *Store) Forget(source Source) {
	s.edit(func(snapshots map[Source]*Snapshot) { delete(snapshots, source) })
}

// update publishes a changed copy of a source's snapshot.
func (s *Store) update(source Source, change func(*Snapshot)) {
	s.edit(func(snapshots map[Source]*Snapshot) {
		snapshot := snapshots[source].clone()
		snapshot.wasRead, snapshot.problem, snapshot.general = true, "", ""
		change(snapshot)
		snapshots[source] = snapshot
	})
}

// edit publishes a changed copy of all snapshots.
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

// Snapshot is what the store keeps of one source. A snapshot is immutable and safe for concurrent
// use. The zero Snapshot is empty.
type Snapshot struct {
	wasRead bool
	problem string
	general string // the part of the problem that is about all locations
	noted   string // by the writer of the newest document
	doubt   string // about the newest document
	doubted int    // values of the newest document
	kept    map[string]keptForecast
}

// A keptForecast is what the store keeps of one location.
type keptForecast struct {
	Forecast
	course     course
	levelled   *Series // of the newest document
	isInNewest bool    // the newest document of the source has the location
}

// Forecast is the last good forecast of one location.
type Forecast struct {
	// Location is the name that the source uses; "" if the source uses none.
	Location string
	// Series may be over. Series is empty if the store knows only a restored history.
	Series *Series
	// Issued is when the newest forecast in the series was issued; zero if there is none.
	Issued time.Time
	// Model has received all forecasts, and the restored history. All snapshots share the model,
	// which goes on learning.
	Model *Model
	// Actuals is what the intensity was, as the documents of the origin say: the newest that has any,
	// and the earlier ones for the time before. Revisions count. Values that are not believed are
	// missing. Actuals has the last eight weeks at most, and is empty if no document has any.
	Actuals *Series
	// Details is what the newest document says of the series. It is zero but for the origin if the
	// store knows only a restored history.
	Details Details
	// Problem says why the newest forecast of this location is not used, or not all of it; "" if all is
	// well.
	Problem string

	from, until time.Time // the span of the newest document, believed or not
}

// ActualUntil returns the end of the newest actual intensity that was observed, or the zero time if
// there is none. What a second source says is none.
func (f Forecast) ActualUntil() time.Time {
	switch {
	case f.Model == nil:
		return time.Time{}
	case f.Details.Second != nil && !f.Actuals.IsEmpty():
		return f.Actuals.End()
	}
	return f.Model.actualUntil()
}

// Near returns the intensity at t. The newest document may speak of t although the intensity at t
// is unknown. Near then returns the last known intensity before t or the first after, the higher of
// both: an unknown intensity is not taken for a clean one. ok is false if nothing is known.
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

// HasForecast reports whether the snapshot has a forecast for any location.
func (s *Snapshot) HasForecast() bool {
	for _, kept := range s.kept {
		if !kept.Series.IsEmpty() {
			return true
		}
	}
	return false
}

// clone returns a copy that can be changed. The clone of nil is an empty snapshot.
func (s *Snapshot) clone() *Snapshot {
	c := &Snapshot{kept: map[string]keptForecast{}}
	if s != nil {
		c.wasRead, c.problem, c.doubt, c.doubted = s.wasRead, s.problem, s.doubt, s.doubted
		c.general, c.noted = s.general, s.noted
		maps.Copy(c.kept, s.kept)
	}
	return c
}

// IsKnown reports whether the source was read at least once, with success or without.
func (s *Snapshot) IsKnown() bool { return s.wasRead }

// Problem says why the newest document of the source is not used, or not all of it; "" if all is
// well.
func (s *Snapshot) Problem() string { return s.problem }

// Note says what the writer of the newest document wants known, and nobody has to mend; "" if there is
// nothing.
func (s *Snapshot) Note() string { return s.noted }

// Doubt says which values of the newest document are not believed, and why; "" if all are believed.
// The doubt is a part of the problem, and stays until the next document.
func (s *Snapshot) Doubt() string { return s.doubt }

// CountDoubted returns how many values of the newest document are not believed.
func (s *Snapshot) CountDoubted() int { return s.doubted }

// Locations returns the sorted names of all locations, including those with only a history.
func (s *Snapshot) Locations() []string { return slices.Sorted(maps.Keys(s.kept)) }

// Forecast returns the forecast of a location. If the newest document has a single location, that
// location also answers to the name "". If the single location has no name, it answers to every
// name that is not in the document. Before the first document, the same holds for the locations of
// the snapshot.
func (s *Snapshot) Forecast(location string) (Forecast, bool) {
	f, ok := s.find(location)
	if ok {
		f.Problem = join(s.general, f.Problem)
	}
	return f, ok
}

// find returns the forecast of a location, without the problem that is about all locations.
func (s *Snapshot) find(location string) (Forecast, bool) {
	kept, ok := s.kept[location]
	if ok && kept.isInNewest {
		return kept.Forecast, true
	}
	only, single := s.only()
	if single && (only.Location == "" || location == "") {
		return only.Forecast, true
	}
	if !ok || only.isInNewest && location == "" { // all locations have names now
		return Forecast{}, false
	}
	return kept.Forecast, true
}

// only returns a location of the newest document or, before the first document, of the snapshot.
// single tells whether there is no other.
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

// markNewest notes which locations are in the newest document. The other locations may come back, and
// until then their models predict from the past. Locations whose past is too old to be useful are
// deleted.
func (s *Snapshot) markNewest(newest Document, now time.Time) {
	for location, kept := range s.kept {
		kept.isInNewest = newest.has(location)
		s.kept[location] = kept
		if !kept.isInNewest && !now.Before(kept.Series.End()) && kept.Model.lastHeard().Before(now.Add(-retentionHours*time.Hour)) {
			delete(s.kept, location)
		}
	}
}

// checkOffer returns an error if the offered series must not replace the kept one.
func (k keptForecast) checkOffer(offered *Series, now time.Time) error {
	if offered.IsEmpty() {
		return errors.New("forecast is empty")
	}
	if _, covered := k.Series.At(now); covered && offered.Start().After(now.Add(maxNextDayAhead)) {
		return fmt.Errorf("forecast from %s starts more than two days from now, and the forecast in use covers now", offered.Start().Format(time.RFC3339))
	}
	if !now.Before(k.course.end) || k.course.start.After(now.Add(maxStartAhead)) {
		return nil
	}
	firstEnd, _ := offered.NextBoundary(offered.Start())
	if firstEnd.After(k.course.start) || offered.End().After(k.course.end) {
		return nil
	}
	return fmt.Errorf("forecast from %s is older than the forecast in use, from %s",
		offered.Start().Format(time.RFC3339), k.course.start.Format(time.RFC3339))
}
