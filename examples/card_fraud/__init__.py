"""Card fraud: payments come in, each is compared with its card's habits, and leaves as a decision."""
