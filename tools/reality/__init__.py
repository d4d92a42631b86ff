"""Predictions against random-init models of transformers: what ``make validate`` runs."""
