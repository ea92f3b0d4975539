package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// digestBytes is the size of a digest. Among 100,000 groups of a day, two have the same digest once
// in 100 years and more.
const digestBytes = 6

// digests are the groups that were settled, with the hours of their ends, in hours since the Unix
// epoch.
type digests map[uint64]int64

// digestOf returns the digest of a UID.
func digestOf(uid string) uint64 {
	sum := sha256.Sum256([]byte(uid))
	return binary.BigEndian.Uint64(append([]byte{0, 0}, sum[:digestBytes]...))
}

// add adds a group.
func (d digests) add(uid string, ended time.Time) { d[digestOf(uid)] = hourOf(ended) }

// has reports whether a group was added.
func (d digests) has(uid string) bool {
	if len(d) == 0 {
		return false
	}
	_, ok := d[digestOf(uid)]
	return ok
}

// forget drops the groups that ended in hours that were over at an instant.
func (d digests) forget(before time.Time) {
	maps.DeleteFunc(d, func(_ uint64, hour int64) bool { return hour < hourOf(before) })
}

// forgetOldest drops the groups of the first hour that there is. There is at least one group.
func (d digests) forgetOldest() {
	first := slices.Min(slices.Collect(maps.Values(d)))
	maps.DeleteFunc(d, func(_ uint64, hour int64) bool { return hour == first })
}

// hourOf returns the hour of an instant since the Unix epoch.
func hourOf(t time.Time) int64 { return bounded(t).Unix() / 3600 }

// encode returns the digests of each hour, in order and one after the other.
func (d digests) encode() map[int64][]byte {
	byHour := map[int64][]uint64{}
	for digest, hour := range d {
		byHour[hour] = append(byHour[hour], digest)
	}
	encoded := make(map[int64][]byte, len(byHour))
	for hour, all := range byHour {
		slices.Sort(all)
		for _, digest := range all {
			encoded[hour] = append(encoded[hour], binary.BigEndian.AppendUint64(nil, digest)[8-digestBytes:]...)
		}
	}
	return encoded
}

// decodeDigests reads what encode has returned.
func decodeDigests(encoded map[int64][]byte) (digests, error) {
	d := digests{}
	for hour, all := range encoded {
		if len(all)%digestBytes != 0 {
			return nil, fmt.Errorf("settled: hour %d: %d bytes: want a multiple of %d", hour, len(all), digestBytes)
		}
		for one := range slices.Chunk(all, digestBytes) {
			d[binary.BigEndian.Uint64(append([]byte{0, 0}, one...))] = hour
		}
	}
	return d, nil
}
