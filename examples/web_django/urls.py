"""The addresses."""

from django.urls import path

from .views import payment_webhook, place_order, show_order

urlpatterns = [
    path("orders", place_order),
    path("orders/<str:id>", show_order),
    path("webhooks/payments", payment_webhook),
]
