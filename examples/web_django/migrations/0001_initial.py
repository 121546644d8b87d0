"""The first tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Orders and parcels."""

    initial = True
    operations = (
        migrations.CreateModel(
            "Order",
            [
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("item", models.CharField(max_length=100)),
                ("cents", models.IntegerField()),
            ],
            {"constraints": (models.CheckConstraint(condition=models.Q(("cents__gt", 0)), name="it_costs_something"),)},
        ),
        migrations.CreateModel(
            "Parcel",
            [
                ("key", models.CharField(max_length=200, primary_key=True, serialize=False)),
                (
                    "order",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="web_django.order"),
                ),
            ],
        ),
    )
