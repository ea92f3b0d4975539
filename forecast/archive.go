package forecast

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

const (
	// archiveVersion is the version of the encoding of a model that never heard of weather, and
	// weatherVersion of one that did.
	archiveVersion, weatherVersion = 1, 3
	// maxArchiveVersion is the last version that a later program may write: data that begins with a
	// letter is no history.
	maxArchiveVersion = 16
	// maxArchiveSize bounds the bytes that are decoded: more than twice the longest encoding.
	maxArchiveSize = 512 << 10
	// maxClockSkew is by how much the clocks of two machines may differ. It also covers an actual
	// intensity that is known for its whole hour in advance.
	maxClockSkew = 2 * time.Hour
)

// Save encodes what the model has learned from, not the learned weights: the actual intensities and
// the forecasts of the last weeks, in less than 256 KiB.
//
// The first byte is the version. The rest is compressed by gzip and in little-endian order: whether
// actual intensities were observed (1 byte), when the newest forecast was received (Unix seconds, 8
// bytes), the record of actual intensities and, for each forecast, the hour at which it became
// known (4 bytes) and its record. Hours count from the Unix epoch. A record is its first hour (4
// bytes), its length (2 bytes), and an IEEE 754 single for each hour.
//
// In version 3, the following comes before the forecasts: when weather was last received (8 bytes), the
// records of wind speed, temperature, solar radiation and the shares of wind and sun, the number of outlooks (2
// bytes) and, for each outlook, its hour and its record. In version 2 there were no shares.
func (m *Model) Save() ([]byte, error) {
	version, plain := m.encode()
	encoded := bytes.NewBuffer([]byte{version})
	z := gzip.NewWriter(encoded)
	if _, err := z.Write(plain); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return encoded.Bytes(), nil
}

// encode returns what [Model.Save] compresses, and the version of that.
func (m *Model) encode() (version byte, b []byte) {
	defer m.lock()()
	version, b = archiveVersion, []byte{0}
	if m.hasActuals {
		b[0] = 1
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(bounded(m.received).Unix()))
	closed := m.past.closedUntil()
	b = appendRecord(b, m.past.actual.part(closed-retentionHours-month, closed))
	if !m.sky.received.IsZero() {
		version, b = weatherVersion, m.sky.appendTo(b)
	}
	return version, appendForecasts(b, m.archive)
}

func appendForecasts(b []byte, archive []archivedForecast) []byte {
	for _, a := range archive {
		b = binary.LittleEndian.AppendUint32(b, uint32(a.knownAt))
		b = appendRecord(b, a.values)
	}
	return b
}

func appendRecord(b []byte, r record) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(r.first))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.values)))
	for _, v := range r.values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	}
	return b
}

// ErrFromFuture says that a history was written at a later time or by a later version of the
// program. The history may be useful once the clock is right, or once the program is no longer
// rolled back.
var ErrFromFuture = errors.New("it comes from a later time, or from a newer program")

// Restore takes what another model had learned from when it was saved, and learns from it. What
// this model has received and observed since stays. Restore returns an error, and leaves the model as it was, if
// data is not such an encoding, is of a later version, or ends later than now or too long ago to be
// useful.
func (m *Model) Restore(data []byte, now time.Time) error {
	saved, err := decodeModel(data)
	if err != nil {
		return err
	}
	if err := saved.resume(now); err != nil {
		return err
	}
	m.learning.Lock()
	defer m.learning.Unlock()
	heard := m.heard()
	if heard.hasActuals {
		saved.addActuals(heard)
	}
	saved.sky.add(&heard.sky)
	fresh := saved.learned()
	fresh.offered = heard.offered
	fresh.receive(fresh.past.judge(heard.course.Series, fresh.course.Series).Believed, heard.received)
	m.replace(fresh)
	return nil
}

// addActuals adds the actual intensities that another model has heard of, see [Model.heard]. What was taken for actual
// before, and not observed, is forgotten.
func (k *knowledge) addActuals(heard *knowledge) {
	if !k.hasActuals {
		k.past.actual, k.gauge = record{}, gauge{}
	}
	k.past.actual, k.hasActuals = united(k.past.actual, heard.past.actual), true
	if heard.gauge.measuredUntil.After(k.gauge.measuredUntil) {
		k.gauge = heard.gauge
	}
}

// learned returns the knowledge of a model that has heard the same, and has learned from it.
func (k *knowledge) learned() *knowledge {
	fresh := &knowledge{offered: k.offered, sky: sky{weather: k.sky.weather, received: k.sky.received}}
	if !k.sky.received.IsZero() {
		fresh.response = newResponse()
	}
	rest, outlooks := k.archive, k.allOutlooks()
	for i, actual := range k.past.actual.values {
		h := k.past.actual.first.plus(i)
		for ; len(rest) > 0 && rest[0].knownAt <= h; rest = rest[1:] {
			fresh.archiveForecast(rest[0])
		}
		for ; len(outlooks) > 0 && outlooks[0].knownAt <= h; outlooks = outlooks[1:] {
			fresh.archiveOutlook(outlooks[0])
		}
		fresh.closeHour(h, actual)
	}
	for _, a := range rest {
		fresh.archiveForecast(a)
	}
	for _, o := range outlooks {
		fresh.archiveOutlook(o)
	}
	fresh.gauge, fresh.hasActuals, fresh.course, fresh.received = k.gauge, k.hasActuals, k.course, k.received
	if len(k.sky.outlooks) == 0 {
		fresh.lookOut(hourOf(fresh.sky.received))
	}
	return fresh
}

// rewind forgets what the model received and measured while the clock was ahead of now, and learns
// again from the rest. Otherwise the model would ignore all forecasts until the clock gets there.
func (m *Model) rewind(now time.Time) {
	m.learning.Lock()
	defer m.learning.Unlock()
	if !m.lastHeard().After(now.Add(maxClockSkew)) {
		return
	}
	heard := m.heard()
	saved := &knowledge{hasActuals: heard.hasActuals, sky: heard.sky.until(now)}
	saved.past.actual = heard.past.actual.part(heard.past.actual.first, hourOf(now))
	for _, a := range heard.archive {
		if a.knownAt <= hourOf(now) {
			saved.archive, saved.received = append(saved.archive, a), startOf(a.knownAt)
		}
	}
	if saved.resume(now) != nil {
		saved = &knowledge{sky: saved.sky} // nothing else in the history is useful
	}
	saved.offered = heard.offered
	m.replace(saved.learned())
}

// decodeModel reads what [Model.Save] has written, without learning from it.
func decodeModel(data []byte) (*knowledge, error) {
	switch {
	case len(data) == 0 || data[0] < archiveVersion || data[0] > maxArchiveVersion:
		return nil, fmt.Errorf("history begins with %.1q, want version %d to %d", data, archiveVersion, weatherVersion)
	case data[0] > weatherVersion:
		return nil, fmt.Errorf("history is of version %d, want %d to %d: %w", data[0], archiveVersion, weatherVersion, ErrFromFuture)
	}
	plain, err := plainHistory(data[1:])
	if err != nil {
		return nil, err
	}
	k := &knowledge{}
	r := archiveReader{rest: plain}
	k.hasActuals = r.take(1)[0] == 1
	k.received = r.time()
	k.past.actual = r.record(retentionHours+month, -MaxIntensity, MaxIntensity)
	switch data[0] {
	case 2:
		k.sky = r.sky(skyValues)
	case weatherVersion:
		k.sky = r.sky(weatherValues)
	}
	for len(r.rest) > 0 && r.err == nil {
		k.archive = append(k.archive, r.forecast(horizonHours))
	}
	if r.err != nil {
		return nil, r.err
	}
	return k, nil
}

// plainHistory returns what [Model.Save] has compressed.
func plainHistory(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("history is not compressed: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxArchiveSize+1))
	if err != nil {
		return nil, fmt.Errorf("history is cut off or damaged: %w", err)
	}
	if len(plain) > maxArchiveSize {
		return nil, fmt.Errorf("history has more than %d bytes", maxArchiveSize)
	}
	return plain, nil
}

// resume checks a decoded history, and sets the model to its end.
func (k *knowledge) resume(now time.Time) error {
	newest := startOf(k.past.actual.end())
	if k.received.After(newest) {
		newest = k.received
	}
	ends, today := newest.Format(time.RFC3339), now.UTC().Format(time.RFC3339)
	switch {
	case newest.After(now.Add(maxClockSkew)):
		return fmt.Errorf("history ends at %s, and now it is %s: %w", ends, today, ErrFromFuture)
	case newest.Before(now.Add(-retentionHours * time.Hour)):
		return fmt.Errorf("history ends at %s, want at most %d days before %s", ends, retentionHours/day, today)
	}
	last := hourOf(k.received)
	for _, a := range slices.Backward(k.archive) {
		if a.knownAt > last {
			return fmt.Errorf("history has a forecast of %s before one of %s", startOf(a.knownAt), startOf(last))
		}
		last = a.knownAt
	}
	if err := k.sky.check(now); err != nil {
		return err
	}
	k.received = earlier(k.received, now) // the clock of the machine that saved it may be ahead; what comes now is not older
	if len(k.past.actual.values) > 0 {
		k.gauge.measuredUntil = startOf(k.past.actual.end())
	}
	if n := len(k.archive); n > 0 {
		var slots []Slot
		for i, v := range k.archive[n-1].values.values {
			h := k.archive[n-1].values.first.plus(i)
			slots = append(slots, Slot{startOf(h), startOf(h + 1), v})
		}
		k.course = newCourse(NewSeries(slots), k.received)
	}
	return nil
}

// An archiveReader takes an encoding apart. After an error it returns zeros.
type archiveReader struct {
	rest []byte
	err  error
}

func (r *archiveReader) take(n int) []byte {
	if n > len(r.rest) {
		r.err = errors.New("history is cut off")
		r.rest = make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// time reads an instant in Unix seconds.
func (r *archiveReader) time() time.Time {
	return bounded(time.Unix(int64(binary.LittleEndian.Uint64(r.take(8))), 0).UTC())
}

// forecast reads a forecast of an archive.
func (r *archiveReader) forecast(most int) archivedForecast {
	return archivedForecast{r.hour(), r.record(most, -MaxIntensity, MaxIntensity)}
}

// hour reads an hour of the years 1970 to 2200.
func (r *archiveReader) hour() hour {
	h := binary.LittleEndian.Uint32(r.take(4))
	if last := uint32(hourOf(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))); h > last {
		r.err = fmt.Errorf("history has hour %d, want at most %d", h, last)
		return 0
	}
	return hour(h)
}

// record reads a record of at most some hours, with values between two bounds.
func (r *archiveReader) record(most int, low, high float64) record {
	read := record{first: r.hour()}
	n := int(binary.LittleEndian.Uint16(r.take(2)))
	if n > most {
		r.err = fmt.Errorf("history has %d hours in a row, want at most %d", n, most)
		return read
	}
	for range n {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(r.take(4))))
		if v < low || v > high {
			r.err = fmt.Errorf("history has a value of %g, want at most %.0f", v, high)
		}
		read.values = append(read.values, v)
	}
	return read
}
