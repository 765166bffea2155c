"""What Django REST framework does by itself: ModelSerializer, ModelViewSet, tokens."""
