package forecast

import (
	"encoding/binary"
	"fmt"
	"time"
)

// appendTo encodes a sky, see [Model.Save].
func (s *sky) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.received.Unix()))
	for _, r := range s.weather {
		b = appendRecord(b, r)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.outlooks)))
	return appendForecasts(b, s.outlooks)
}

// sky reads what [sky.appendTo] has written, with the first values of the weather.
func (r *archiveReader) sky(values int) sky {
	s := sky{received: r.time()}
	bounds := weatherBounds()
	for i, bounds := range bounds[:values] {
		s.weather[i] = r.record(retentionHours+horizonHours, bounds[0], bounds[1])
	}
	for n := binary.LittleEndian.Uint16(r.take(2)); n > 0 && r.err == nil; n-- {
		s.outlooks = append(s.outlooks, r.forecast(outlookHours))
	}
	return s
}

// check checks a sky that was decoded, and sets it to an instant: the clock of the machine that saved it
// may be a little ahead.
func (s *sky) check(now time.Time) error {
	if s.received.After(now.Add(maxClockSkew)) {
		return fmt.Errorf("history has weather of %s, and now it is %s: %w", s.received.Format(time.RFC3339), now.UTC().Format(time.RFC3339), ErrFromFuture)
	}
	last := hour(0)
	for _, o := range s.outlooks {
		if o.knownAt < last || o.knownAt > hourOf(now.Add(maxClockSkew)) {
			return fmt.Errorf("history has an outlook of %s, want one from %s to %s", startOf(o.knownAt), startOf(last), now.UTC().Format(time.RFC3339))
		}
		last = o.knownAt
	}
	s.received = earlier(s.received, now)
	return nil
}

// add adds what another sky has heard since.
func (s *sky) add(heard *sky) {
	if heard.received.IsZero() {
		return
	}
	s.weather, _ = s.weather.revisedBy(heard.weather, hourOf(heard.received))
	s.received = later(s.received, heard.received)
	for _, o := range heard.outlooks {
		if n := len(s.outlooks); n == 0 || o.knownAt > s.outlooks[n-1].knownAt {
			s.outlooks = archived(s.outlooks, o, outlookSpacingHours)
		}
	}
}

// until returns what is left of a sky whose clock was ahead: the weather of the time before an instant,
// and the outlooks of that time.
func (s *sky) until(now time.Time) sky {
	if s.received.IsZero() {
		return sky{}
	}
	left := sky{received: earlier(s.received, now)}
	for i := range s.weather {
		left.weather[i] = s.weather[i].part(hourOf(now)-retentionHours, hourOf(now))
	}
	for _, o := range s.outlooks {
		if o.knownAt <= hourOf(now) {
			left.outlooks = append(left.outlooks, o)
		}
	}
	return left
}
