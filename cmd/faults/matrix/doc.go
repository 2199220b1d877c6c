// Package matrix does faults to a gateway under load, one cell after the other, and has the oracle judge what its clients got.
//
// A cell is one fault, or a pair of them, and a set of clients. Each run of it has a virtual host, a gateway and clients of its
// own, and a random source of its own that follows from the seed and the cell's name: when a fault strikes, and how hard, is the same
// in each run with the same seed, as far as processes and networks are. A cell that kills or starves the broker has
// a node that no other cell uses meanwhile.
//
// A run goes like this: publishers publish all the time; when every client listens, the fault is done; when it is over, every client must
// get what is published after that; then the publishers stop, and every client must get the last message.
package matrix
