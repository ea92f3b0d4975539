package keep

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// maxOpenBytes bounds what is kept of the groups that have not ended. A ConfigMap has at most a
	// MiB, and the page takes up to 700 KiB.
	maxOpenBytes = 280 << 10
	// maxOpenPods and maxOpenEnded bound how many pods and ended groups are kept.
	maxOpenPods, maxOpenEnded = 8000, 8000
	// maxOpenText bounds what is decompressed.
	maxOpenText = 64 << 20
)

// open is what is kept over restarts of groups that are not booked. It is needed only for what goes
// while no leader runs: everything else is seen again.
type open struct {
	// At is the pass that wrote this.
	At     time.Time             `json:"at"`
	Owners []*owner              `json:"owners,omitempty"`
	Pods   []*pod                `json:"-"` // they follow one by one
	Folded map[types.UID]*folded `json:"folded,omitempty"`
	// Ended are groups whose page could not be written yet.
	Ended []ledger.Group `json:"ended,omitempty"`
}

// open returns what is known of groups that are not booked. Work that has not started is left out.
func (k *known) open() *open {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := &open{At: k.lastPass, Pods: slices.Collect(maps.Values(k.pods)), Folded: maps.Clone(k.folded)}
	hasPods, pieces := map[types.UID]bool{}, k.pieces()
	for _, p := range o.Pods {
		hasPods[k.topOf(p.Owner.UID)], hasPods[p.Owner.UID], hasPods[pieces.of(p)] = true, true, true
	}
	for uid, one := range k.owners {
		if hasPods[uid] || k.folded[uid] != nil || one.hasRun() {
			o.Owners = append(o.Owners, one)
		}
	}
	slices.SortFunc(o.Owners, func(a, b *owner) int { return cmp.Compare(a.UID, b.UID) })
	slices.SortFunc(o.Pods, func(a, b *pod) int { return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.UID, b.UID)) })
	return o
}

// rank orders pods by how much they need to be kept: first those that nobody can see again.
func (p *pod) rank() int {
	switch {
	case p.Gone:
		return 0
	case p.isOver():
		return 1
	default:
		return 2
	}
}

// encode encodes what is open; nothing if nothing is open. What is too much is left out, the pods
// that run first.
func (o *open) encode() ([]byte, error) {
	if len(o.Owners)+len(o.Pods)+len(o.Ended)+len(o.Folded) == 0 {
		return nil, nil
	}
	short := *o
	short.Pods, short.Ended = o.Pods[:min(len(o.Pods), maxOpenPods)], o.Ended[:min(len(o.Ended), maxOpenEnded)]
	for {
		encoded, err := short.compress()
		if err != nil || len(encoded) <= maxOpenBytes {
			return encoded, err
		}
		if len(short.Pods) == 0 && len(short.Ended) == 0 {
			short.Owners = short.Owners[:len(short.Owners)/2]
			if len(short.Owners) == 0 {
				short.Folded = nil
			}
		}
		short.Pods, short.Ended = short.Pods[:len(short.Pods)/2], short.Ended[:len(short.Ended)*3/4]
	}
}

// compress writes all but the pods, and then one pod after the other: the text of all pods at once
// would take several times the memory of the pods.
func (o *open) compress() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := o.writeTo(z); err != nil {
		return nil, fmt.Errorf("encode the groups that have not ended: %w", err)
	}
	return b.Bytes(), nil
}

func (o *open) writeTo(z *gzip.Writer) error {
	encoder := json.NewEncoder(z)
	if err := encoder.Encode(o); err != nil {
		return err
	}
	for _, p := range o.Pods {
		if err := encoder.Encode(p); err != nil {
			return err
		}
	}
	return z.Close()
}

// decodeOpen reads what encode has written. Without data, nothing is open.
func decodeOpen(encoded []byte) (*open, error) {
	o := &open{}
	if len(encoded) == 0 {
		return o, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("want data that gzip has compressed: %w", err)
	}
	decoder := json.NewDecoder(io.LimitReader(z, maxOpenText))
	if err := decoder.Decode(o); err != nil {
		return nil, fmt.Errorf("want the groups that have not ended: %w", err)
	}
	for len(o.Pods) < maxOpenPods {
		p := &pod{}
		err := decoder.Decode(p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("want a pod of the groups that have not ended: %w", err)
		}
		o.Pods = append(o.Pods, p)
	}
	return o, nil
}

// restore makes known what was open. A watch then tells what of this has gone.
func (k *known) restore(o *open) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastPass = later(k.lastPass, o.At)
	for _, one := range o.Owners {
		if one == nil || one.UID == "" || k.owners[one.UID] != nil {
			continue
		}
		one.wasLive = true
		k.owners[one.UID] = one
	}
	for _, p := range o.Pods {
		if p.isUsable() && k.pods[p.UID] == nil {
			p.wasLive = true
			k.pods[p.UID] = p
		}
	}
	for uid, f := range o.Folded {
		if f != nil {
			k.folded[uid] = f
		}
	}
}

// isUsable reports whether a pod that was read has what every pod has.
func (p *pod) isUsable() bool {
	return p != nil && p.UID != "" && p.Notes != nil && !p.Start.IsZero()
}
