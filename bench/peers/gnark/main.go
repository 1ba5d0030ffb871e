// gnark-crypto beside the kernels: one JSON line a figure, the least of several rounds in nanoseconds, by the clock and
// of processor time. Arguments: how many threads, and the largest power of two.
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fp"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/fft"
)

func now() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

func least(name string, rounds int, units int, act func()) {
	act()
	wall, busy := math.Inf(1), math.Inf(1)
	for i := 0; i < rounds; i++ {
		runtime.GC()
		clock, started := time.Now(), now()
		act()
		busy = math.Min(busy, (now()-started)/float64(units))
		wall = math.Min(wall, float64(time.Since(clock).Nanoseconds())/float64(units))
	}
	fmt.Printf("{\"name\": \"%s\", \"wall\": %.2f, \"cpu\": %.2f}\n", name, wall, busy)
}

func main() {
	var threads, largest int
	if _, err := fmt.Sscan(strings.Join(os.Args[1:], " "), &threads, &largest); err != nil {
		panic(err)
	}
	runtime.GOMAXPROCS(threads)
	var x, y fp.Element
	x.SetRandom()
	y.SetRandom()
	least("field_mul", 5, 1<<20, func() {
		for i := 0; i < 1<<20; i++ {
			x.Mul(&x, &y)
		}
	})
	generator, _, base, twisted := bn254.Generators()
	sum := generator
	sum.DoubleAssign()
	least("mixed_add", 5, 1<<16, func() {
		for i := 0; i < 1<<16; i++ {
			sum.AddMixed(&base)
		}
	})

	scalars := make([]fr.Element, 1<<largest)
	for i := range scalars {
		scalars[i].SetRandom()
	}
	points := bn254.BatchScalarMultiplicationG1(&base, scalars)
	for power := 10; power <= largest; power += 2 {
		count := 1 << power
		least(fmt.Sprintf("msm_%d", power), 3, 1, func() {
			var total bn254.G1Affine
			if _, err := total.MultiExp(points[:count], scalars[:count], ecc.MultiExpConfig{NbTasks: threads}); err != nil {
				panic(err)
			}
		})
		domain := fft.NewDomain(uint64(count))
		values := make([]fr.Element, count)
		copy(values, scalars)
		least(fmt.Sprintf("ntt_%d", power), 3, 8, func() {
			for i := 0; i < 8; i++ {
				domain.FFT(values, fft.DIF, fft.WithNbTasks(threads))
				fft.BitReverse(values)
			}
		})
	}
	lefts := []bn254.G1Affine{points[0], points[1], points[2]}
	rights := []bn254.G2Affine{twisted, twisted, twisted}
	least("three_pairings", 5, 1, func() {
		if _, err := bn254.PairingCheck(lefts, rights); err != nil {
			panic(err)
		}
	})
}
