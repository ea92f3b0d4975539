package forecast

import "math"

// maxLeadHours is how far ahead is learned. An hour that is further ahead is predicted with the
// weights of the last one.
const maxLeadHours = 60

// leadBuckets is the number of buckets of leads. The leads of a bucket share their weights.
const leadBuckets = 11

// bucketStarts returns the first lead of each bucket, and the one after the last.
func bucketStarts() [leadBuckets + 1]int {
	return [...]int{1, 2, 3, 4, 6, 9, 13, 19, 25, 37, 49, maxLeadHours + 1}
}

// forgettingHours is the time after which a sample counts 1/e of what it counted at first.
const forgettingHours = 45 * day

// rampHours is the time over which the learned weights replace the rule of thumb.
const rampHours = 20 * day

// Pulls are counted in samples whose features are as large as the spread of the intensity, per lead
// of a bucket: pullToPrior pulls the weights of a bucket towards the prior. pullToCommon pulls the
// weights of an hour of the day towards the weights of the bucket.
const (
	pullToPrior  = 36
	pullToCommon = 1.5
)

// outlierSpreads is the size of a change or a feature, in spreads, from which on the data are wrong
// and nothing can be learned. [past.credible] bounds intensities in the same way.
const outlierSpreads = 10

// A learner weighs the features of a feature set, by online ridge regression with forgetting. It
// has weights for each bucket of leads and each hour of the day of the target. These are pulled
// towards the common weights of the bucket, and the common weights towards a prior.
type learner struct {
	features     featureSet
	size         int // how many features there are
	sums         [leadBuckets][day]moments
	weights      [leadBuckets][day]vector
	sampleScale  float64 // new samples weigh more, instead of old ones less
	learnedHours int     // how many hours have been learned
	// beside is the learner that knows less, and is asked while this one learns: the one that sees the
	// outlook, if there is any, and then the one that sees the past alone; nil for that one itself.
	beside *learner
	// besideShare is how much the learner beside this one always counts.
	besideShare float64
	// beginner helps until this learner has learned for some days, and is nil then. Only a learner of the
	// forecasts of a provider has one.
	beginner *beginner
}

// moments are weighted sums over samples (x, y).
type moments struct {
	xx []float64 // the sum of x·xᵀ: its lower triangle by rows
	xy []float64
}

// newMoments returns the moments of no samples of some features.
func newMoments(size int) moments {
	values := make([]float64, size*(size+3)/2)
	return moments{values[size:], values[:size:size]}
}

func newLearner(v featureSet) *learner {
	l := &learner{features: v, sampleScale: 1}
	l.grow()
	return l
}

// grow makes room for the features that the feature set has got since. They were zero until now, so
// that nothing is lost.
func (l *learner) grow() {
	size := len(l.features.names())
	if size == l.size {
		return
	}
	l.size = size
	for k := range l.sums {
		for g, old := range l.sums[k] {
			l.sums[k][g] = newMoments(size)
			copy(l.sums[k][g].xx, old.xx)
			copy(l.sums[k][g].xy, old.xy)
		}
	}
	l.fit()
}

// closeHour takes note of an hour that is over.
func (l *learner) closeHour(p *past, h hour) {
	l.learn(p, h)
	l.features.closeHour(h)
}

// learn takes the errors that predictions for the hour u would have had, seen from the 60 hours
// before u.
func (l *learner) learn(p *past, u hour) {
	actual, learned := p.actual.at(u), false
	for lead := 1; lead <= maxLeadHours; lead++ {
		v := u.plus(-lead)
		change, spread := actual-p.actual.at(v), p.spread.at(v)
		if !(math.Abs(change) <= outlierSpreads*spread) {
			continue
		}
		if x, ok := l.features.at(v, u); ok && x.isWithin(outlierSpreads*spread) {
			l.sums[leadBucket(lead)][u.ofDay()].add(&x, change, l.sampleScale/(spread*spread))
			l.teachBeginner(v, u, x, change, spread)
			learned = true
		}
	}
	l.sampleScale *= math.Exp(1 / float64(forgettingHours))
	if learned {
		l.learnedHours++
	}
	if l.learnedHours >= beginnerHours {
		l.beginner = nil
	}
	if l.beginner != nil {
		l.beginner.fit()
	}
	if u%day == 0 {
		l.fit()
	}
}

// teachBeginner teaches the beginner, if there is one, the change from v to u.
func (l *learner) teachBeginner(v, u hour, x vector, change, spread float64) {
	if l.beginner == nil {
		return
	}
	if beside, _ := l.expectedBeside(v, u); math.Abs(beside) <= outlierSpreads*spread {
		l.beginner.learn(u.since(v), x, beside, change, 1/(spread*spread))
	}
}

func (m *moments) add(x *vector, y, weight float64) {
	rest := m.xx
	for i := range m.xy {
		xi := x[i] * weight
		m.xy[i] += xi * y
		row := rest[:i+1]
		for j := range row {
			row[j] += xi * x[j]
		}
		rest = rest[i+1:]
	}
}

func (m *moments) plus(o *moments) {
	for i, v := range o.xx {
		m.xx[i] += v
	}
	for i, v := range o.xy {
		m.xy[i] += v
	}
}

func (m *moments) times(factor float64) {
	for i := range m.xx {
		m.xx[i] *= factor
	}
	for i := range m.xy {
		m.xy[i] *= factor
	}
}

// fit computes the weights that fit best what has been learned.
func (l *learner) fit() {
	firsts := bucketStarts()
	for k := range leadBuckets {
		n := float64(firsts[k+1] - firsts[k])
		all := newMoments(l.size)
		for g := range l.sums[k] {
			l.sums[k][g].times(1 / l.sampleScale)
			all.plus(&l.sums[k][g])
		}
		prior := meanPrior(l.features.prior, firsts[k], firsts[k+1])
		common := all.ridge(pullToPrior*n, prior)
		for g := range l.sums[k] {
			l.weights[k][g] = l.sums[k][g].ridge(pullToCommon*n, common)
		}
	}
	l.sampleScale = 1
}

// meanPrior returns the mean of the priors of some leads.
func meanPrior(prior func(lead float64) vector, from, to int) vector {
	var mean vector
	for lead := from; lead < to; lead++ {
		for i, w := range prior(float64(lead)) {
			mean[i] += w / float64(to-from)
		}
	}
	return mean
}

// ridge returns the w that minimises the squared error plus pull·|w - towards|².
func (m *moments) ridge(pull float64, towards vector) vector {
	var a [featureCount * (featureCount + 1) / 2]float64
	var w vector
	copy(a[:], m.xx)
	copy(w[:], m.xy)
	for i := range m.xy {
		w[i] += pull * towards[i]
		a[i*(i+3)/2] += pull
	}
	solve(a[:], w[:len(m.xy)])
	return w
}

// solve replaces b by the x of A·x = b for a symmetric positive definite A, by Cholesky's
// decomposition. The lower triangle of A, by rows, is overwritten.
func solve(a, b []float64) {
	row := func(i int) []float64 { return a[i*(i+1)/2:] }
	for i := range b {
		ri := row(i)
		for j := range i + 1 {
			rj, sum := row(j), ri[j]
			for k := range j {
				sum -= ri[k] * rj[k]
			}
			if i == j {
				ri[i] = math.Sqrt(sum)
			} else {
				ri[j] = sum / rj[j]
			}
		}
		for k := range i {
			b[i] -= ri[k] * b[k]
		}
		b[i] /= ri[i]
	}
	for i := len(b) - 1; i >= 0; i-- {
		for k := i + 1; k < len(b); k++ {
			b[i] -= row(k)[i] * b[k]
		}
		b[i] /= row(i)[i]
	}
}

// change predicts by how much the intensity at u is above the intensity at v. It returns false if
// the feature set does not reach u.
func (l *learner) change(v, u hour) (float64, bool) {
	x, ok := l.features.at(v, u)
	if !ok {
		return 0, false
	}
	sum := 0.0
	for i, w := range l.weights[leadBucket(u.since(v))][u.ofDay()] {
		sum += w * x[i]
	}
	if learned := l.learnedShare(); learned < 1 {
		sum = learned*sum + (1-learned)*l.unlearned(v, u)
	}
	if l.besideShare > 0 {
		sum = (1-l.besideShare)*sum + l.besideShare*l.besideChange(v, u)
	}
	return sum, true
}

// pastShare is how much the learner beside counts beside a forecast whose errors are unknown.
const pastShare = 0.5

// unlearned returns the change that is expected before the learner has learned anything: the rule of
// thumb and, as far as the past alone has been learned, what the past alone tells. A provider gives
// the intensities of the last weeks at once, but not the forecasts of these weeks.
func (l *learner) unlearned(v, u hour) float64 {
	rule := l.features.ruleOfThumb(v, u)
	beside, learned := l.expectedBeside(v, u)
	mixed := (1-pastShare)*rule + pastShare*beside
	if l.beginner != nil {
		x, _ := l.features.at(v, u)
		// Never beyond both: a forecast whose level is far off would be added to what the past tells.
		change := min(max(l.beginner.change(u.since(v), x, beside), min(rule, beside)), max(rule, beside))
		mixed = between(mixed, change, beginnerShare(l.learnedHours))
	}
	return between(rule, mixed, learned)
}

// expectedBeside returns the change that the learner beside this one expects, and which share of the
// prediction of the past alone is learned. Without a learner beside, it returns zeros.
func (l *learner) expectedBeside(v, u hour) (change, learned float64) {
	for b := l.beside; b != nil; b = b.beside {
		if change, ok := b.change(v, u); ok {
			return change, b.learnedShareOfPast()
		}
	}
	return 0, 0
}

// learnedShareOfPast returns the largest learned share of this learner and those beside.
func (l *learner) learnedShareOfPast() float64 {
	share := l.learnedShare()
	for b := l.beside; b != nil; b = b.beside {
		share = max(share, b.learnedShare())
	}
	return share
}

// besideChange returns the change that the learner beside this one expects, or no change.
func (l *learner) besideChange(v, u hour) float64 {
	change, _ := l.beside.change(v, u)
	return change
}

// learnedShare returns the share of a prediction that is learned, in 0..1. The rest is the rule of
// thumb.
func (l *learner) learnedShare() float64 { return min(1, float64(l.learnedHours)/rampHours) }

// contributions returns the terms whose sum is the predicted change.
func (l *learner) contributions(v, u hour) []Contribution {
	x, _ := l.features.at(v, u)
	var terms []Contribution
	own := 1 - l.besideShare
	for i, name := range l.features.names() {
		terms = append(terms, Contribution{name, own * l.learnedShare() * l.weights[leadBucket(u.since(v))][u.ofDay()][i] * x[i]})
	}
	if learned := l.learnedShare(); learned < 1 {
		terms = append(terms, Contribution{"rule of thumb, while learning", own * (1 - learned) * l.unlearned(v, u)})
	}
	if l.besideShare > 0 {
		terms = append(terms, Contribution{"what the past alone tells", l.besideShare * l.besideChange(v, u)})
	}
	return terms
}

// leadBucket returns the bucket of a lead.
func leadBucket(lead int) int {
	for k, first := range bucketStarts() {
		if lead < first {
			return k - 1
		}
	}
	return leadBuckets - 1
}
